"""Plans with numbers, gates that say why, and what they decide."""
