"""Rules on branches: what a branch and all below it do again and again, and what happens then.

`rule` has the rules, `builtin` those that every gateway knows. `activity` says how calls are
counted. The gate counts the same in the shared table (`_native/branch_activity.h`).
"""
