"""The golden case: about twenty dossiers from the wire to the publication, worked out by hand (case.md)."""
