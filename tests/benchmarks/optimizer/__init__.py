"""What ``make bench-optimizer`` runs: modelkit and its peers on a zoo of exported models."""
