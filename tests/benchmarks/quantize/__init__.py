"""``make bench-quantize``: modelkit's quantization beside its peers, on subjects trained here."""
