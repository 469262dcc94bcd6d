package wal

import (
	"errors"
	"syscall"
	"testing"

	"kvstore/internal/vfs"
)

// smallDisk is a lock on a disk with this many free bytes.
type smallDisk struct {
	vfs.Lock
	free, held int64
	none       bool // it cannot reserve space
}

func (d *smallDisk) Reserve(n int64) error {
	switch {
	case d.none:
		return errors.ErrUnsupported
	case n > d.free+d.held:
		d.held, d.free = d.held+d.free, 0 // a part is reserved all the same, as on ext4
		return syscall.ENOSPC
	case n == 0 || n > d.held:
		d.free, d.held = d.free+d.held-n, n
	}
	return nil
}

// A ballast takes what it is asked for, or what the disk has, down to what is
// not worth it, and gives all of it back.
func TestBallast(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		disk smallDisk
		ask  []int64
		want int64
	}{
		"room":                     {smallDisk{free: 10 * mib}, []int64{mib}, mib},
		"grows":                    {smallDisk{free: 10 * mib}, []int64{mib, 4 * mib}, 4 * mib},
		"does not shrink":          {smallDisk{free: 10 * mib}, []int64{4 * mib, mib}, 4 * mib},
		"little room":              {smallDisk{free: mib}, []int64{2 * mib}, 941192},
		"no room":                  {smallDisk{free: minBallastBytes - 1}, []int64{mib}, 0},
		"grows as far as it can":   {smallDisk{free: 3 * mib}, []int64{2 * mib, 4 * mib}, 2809856},
		"left by another session":  {smallDisk{held: 5 * mib}, []int64{mib}, mib},
		"a system without ballast": {smallDisk{free: 10 * mib, none: true}, []int64{mib}, 0},
	} {
		disk := c.disk
		all := disk.free + disk.held
		b := NewBallast(&disk)
		b.Release()
		if disk.held != 0 {
			t.Errorf("%s: %d bytes are held when an Open begins", name, disk.held)
		}
		for _, n := range c.ask {
			b.Hold(n)
		}
		if disk.held != c.want || b.Spent() {
			t.Errorf("%s: holds %d bytes, want %d", name, disk.held, c.want)
		}
		if spent := b.Spend(); spent != (c.want > 0) || b.Spent() != spent || disk.free != all {
			t.Errorf("%s: spent: %t, %d bytes are free of %d", name, spent, disk.free, all)
		}
		if b.Spend() {
			t.Errorf("%s: spent twice", name)
		}
		if b.Hold(minBallastBytes); b.Spent() && disk.held > 0 {
			t.Errorf("%s: spent, and %d bytes are held", name, disk.held)
		}
	}
}
