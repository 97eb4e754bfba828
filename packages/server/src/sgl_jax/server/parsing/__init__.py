"""What a model's answer says beside plain text: reasoning and tool calls."""
