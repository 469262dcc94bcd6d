//go:build !linux

package diskio

func yieldProcessor() {}
