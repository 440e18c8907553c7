"""Crewgate: who is calling, under whose grant, may it use this tool, and can it still pay?"""
