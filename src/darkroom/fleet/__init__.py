"""How many workers, where: on one box, the processes that `darkroom serve` keeps alive."""
