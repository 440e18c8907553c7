"""The processes of orchestrators: which ones run, and how each one is ended for good.

An end is a transaction in steps (`decommission`): the intent is on the disk before the first step,
and a process that finds it there takes the steps that are left.
"""
