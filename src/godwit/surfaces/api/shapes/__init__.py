"""Shapes of what is sent and answered here, where a method's arguments or its result need a name. All else is the engine's
own types, as JSON. A module has the shapes of the routes of its name.

Rules: an answer is always an object, so that it can grow; what may be left out of a body has the method's default.
"""
