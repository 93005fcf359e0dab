"""What people watch: metrics and logs. Parts tell what happened; this room listens."""
