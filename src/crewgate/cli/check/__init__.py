"""The checks of `crewgate check`: can a gateway use every file that a configuration names?"""
