//go:build !amd64 && !arm64

package table

var canPrefetch = false

func prefetch(_ *uintptr, _, _ int) {}
