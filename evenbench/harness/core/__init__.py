"""Values, the Backend interface, the backend registry and the artifact store. Imports no other
room.
"""
