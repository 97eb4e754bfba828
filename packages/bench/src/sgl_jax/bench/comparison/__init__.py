"""Comparing runs: is the new one really slower, or is it noise?"""
