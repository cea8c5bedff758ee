"""Full screens that open over the console: runners, and what else is about more than the uploads in its panes."""
