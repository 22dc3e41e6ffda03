"""Who is who: evidence between identifiers, and the persons it makes."""
