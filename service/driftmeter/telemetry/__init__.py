"""What the service says about itself: metrics and logs. A leaf: every stage may use it, it uses none."""
