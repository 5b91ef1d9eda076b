//! Puts every mutant of a file beside what it replaces: `if crate::mutant::is(7) { … } else { … }`.

use std::collections::BTreeSet;

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, BinOp, Block, Expr, ImplItemFn, ItemFn, Stmt, TraitItemFn, parse_quote};

use crate::{Mutant, Place};

/// The file with these mutants of it.
pub fn rewrite(text: &str, mutants: &[(usize, &Mutant)]) -> String {
    let mut tree = syn::parse_file(text).unwrap();
    let mut rewriter = Rewriter { mutants, placed: BTreeSet::new() };
    rewriter.visit_file_mut(&mut tree);
    let lost = mutants.iter().find(|(number, _)| !rewriter.placed.contains(number));
    assert!(lost.is_none(), "no place for {}", lost.unwrap().1.name);
    prettyplease::unparse(&tree)
}

struct Rewriter<'m> {
    mutants: &'m [(usize, &'m Mutant)],
    placed: BTreeSet<usize>,
}

impl Rewriter<'_> {
    fn take(&mut self, genre: &str, at: Place) -> Vec<(u32, String)> {
        let here = self.mutants.iter().filter(|(_, mutant)| mutant.genre == genre && mutant.span.start == at);
        let found: Vec<_> = here.map(|(number, mutant)| (*number, mutant.replacement.clone())).collect();
        self.placed.extend(found.iter().map(|(number, _)| *number));
        found.into_iter().map(|(number, text)| (u32::try_from(number).unwrap(), text)).collect()
    }

    /// Results instead of what a function computes. What is inside of it was visited before, so the rest is its own.
    fn results(&mut self, block: &mut Block) {
        let (from, to) = (start(block.span()), end(block.span()));
        for (number, mutant) in self.mutants {
            let inside = mutant.span.start >= from && mutant.span.end <= to;
            if mutant.genre == "FnValue" && inside && self.placed.insert(*number) {
                let value: Expr = syn::parse_str(&mutant.replacement).unwrap();
                let number = u32::try_from(*number).unwrap();
                block.stmts.insert(0, parse_quote! { if crate::mutant::is(#number) { return #value; } });
            }
        }
    }

    fn operators(&mut self, expression: &mut Expr, found: Vec<(u32, String)>) {
        let original = expression.clone();
        for (number, text) in found {
            let other: Expr = match &original {
                Expr::Binary(binary) => {
                    let (left, right): (&Expr, &Expr) = (&binary.left, &binary.right);
                    let op: BinOp = syn::parse_str(&text).unwrap();
                    parse_quote! { (#left) #op (#right) }
                }
                Expr::Unary(unary) => Expr::clone(&unary.expr),
                _ => unreachable!("only these have operators"),
            };
            *expression = parse_quote! { (if crate::mutant::is(#number) { #other } else { #expression }) };
        }
    }
}

impl VisitMut for Rewriter<'_> {
    fn visit_item_fn_mut(&mut self, item: &mut ItemFn) {
        let before = self.placed.len();
        visit_mut::visit_item_fn_mut(self, item);
        self.results(&mut item.block);
        // What asks the environment is no constant any more.
        item.sig.constness = item.sig.constness.filter(|_| self.placed.len() == before);
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut ImplItemFn) {
        let before = self.placed.len();
        visit_mut::visit_impl_item_fn_mut(self, item);
        self.results(&mut item.block);
        item.sig.constness = item.sig.constness.filter(|_| self.placed.len() == before);
    }

    fn visit_trait_item_fn_mut(&mut self, item: &mut TraitItemFn) {
        visit_mut::visit_trait_item_fn_mut(self, item);
        if let Some(block) = &mut item.default {
            self.results(block);
        }
    }

    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        let found = match &*expression {
            Expr::Binary(binary) => self.take("BinaryOperator", start(binary.op.span())),
            Expr::Unary(unary) => self.take("UnaryOperator", start(unary.op.span())),
            _ => Vec::new(),
        };
        // Patterns in a chain belong to its `if`; what replaces the chain's operators would not compile.
        let is_chain = has_pattern(expression);
        visit_mut::visit_expr_mut(self, expression);
        if !is_chain {
            self.operators(expression, found);
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        let at = start(arm.span());
        let guards = arm.guard.as_ref().map(|(_, guard)| start(guard.span()));
        let guards = guards.map_or(Vec::new(), |at| self.take("MatchArmGuard", at));
        visit_mut::visit_arm_mut(self, arm);
        for (number, text) in guards {
            let value: Expr = syn::parse_str(&text).unwrap();
            if let Some((_, guard)) = &mut arm.guard {
                *guard = parse_quote! { (if crate::mutant::is(#number) { #value } else { #guard }) };
            }
        }
        for (number, _) in self.take("MatchArm", at) {
            let guard: Expr = match arm.guard.take() {
                Some((_, guard)) => parse_quote! { !crate::mutant::is(#number) && (#guard) },
                None => parse_quote! { !crate::mutant::is(#number) },
            };
            arm.guard = Some((Default::default(), Box::new(guard)));
        }
    }

    fn visit_stmt_mut(&mut self, statement: &mut Stmt) {
        // What a macro is given is text to syn, and to cargo-mutants.
        if !matches!(statement, Stmt::Macro(_)) {
            visit_mut::visit_stmt_mut(self, statement);
        }
    }
}

fn has_pattern(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_pattern(&binary.left) || has_pattern(&binary.right),
        _ => false,
    }
}

fn start(span: Span) -> Place {
    Place { line: span.start().line, column: span.start().column + 1 }
}

fn end(span: Span) -> Place {
    Place { line: span.end().line, column: span.end().column + 1 }
}
