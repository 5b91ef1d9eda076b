"""Validates instances, read from standard input as {name: instance}, against the schema in the file that is named.

Prints {name: [errors]}.
"""

import json
import sys

from jsonschema import Draft202012Validator

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)


def errors(instance):
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


json.dump({name: errors(instance) for name, instance in json.load(sys.stdin).items()}, sys.stdout)
