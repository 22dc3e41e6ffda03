"""What each CRM sends, and how it shows who it is."""
