"""Tables of URLs (LAION, COYO, DataComp) → shards, downloaded by img2dataset."""
