"""The door for lists: CSV files of people, attendance, purchases, deals and costs, each row a fact."""
