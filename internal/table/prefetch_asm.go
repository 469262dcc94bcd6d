//go:build amd64 || arm64

package table

import "kvstore/internal/tuning"

// canPrefetch reports whether prefetch does something. Tests switch it off.
var canPrefetch = tuning.Prefetch

// prefetch asks the processor to load cache lines, and does not wait: for each
// of n addresses the line there and those behind it, lines in all. An address
// may be one that must not be read.
//
//go:noescape
func prefetch(addresses *uintptr, n, lines int)
