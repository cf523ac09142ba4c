"""Tables of URLs (LAION, COYO, DataComp) to shards, downloaded by img2dataset."""
