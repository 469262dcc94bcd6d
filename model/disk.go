package main

import "slices"

// The disk follows the fault model of docs/RELIABILITY.md, with pieces in place
// of sectors:
//
//   - A power cut keeps any subset of what was not synced. Each piece has its
//     old content or that of any later write; each change of a name has
//     happened or not.
//   - A failed fsync may have written any subset. The cache keeps the new
//     content, marked clean, so the next fsync succeeds and writes nothing.
//   - A block that has lost a write takes no other one until the system
//     restarts: later writes to it succeed, are synced, and stay in the cache.
//   - Clean pages may be evicted at any time, and are then read from the disk.
//   - If no process has a file open, an error of writing it back is reported to
//     nobody.

// presence says whether the data directory itself exists.
type presence uint8

const (
	dirMissing  presence = iota
	dirUnsynced          // its name is not durable: a power cut may take the directory away
	dirPresent
)

// disk is the data directory on a disk that may fail. Its methods are the
// system calls that the protocol makes; the adversary decides how they end.
type disk struct {
	*adversary
	self    presence
	names   directory // as processes see them
	synced  directory // as the disk has them
	pending []change  // what leads from synced to names
}

// write writes one piece. The protocol writes several with one call, but a
// process can be killed in the middle of that.
func (d *disk) write(f *file, at int, p piece) {
	d.step()
	f.set(at, p)
	if d.tracing { // this is called often, and its arguments cost
		d.say("  write %v[%d] = %v", f, at, p)
	}
}

// sync is fsync of a file.
func (d *disk) sync(f *file) error {
	d.step()
	if f.isDirty() && d.syncFails() {
		for at := range f.disk {
			d.lose(f, at)
		}
		d.say("  sync %v FAILS, the disk has %v", f, f.disk)
		return errSync
	}
	for at, writes := range f.dirty {
		// A clean page is not written, whatever the disk has.
		if len(writes) > 0 && !f.lost[at] {
			f.disk[at] = f.cache[at]
		}
		f.dirty[at] = nil
	}
	d.say("  sync %v", f)
	return nil
}

// settle lets the adversary decide what the disk has of a dirty piece.
func (d *disk) settle(f *file, at int) {
	if len(f.dirty[at]) > 0 && !f.lost[at] {
		options := []piece{f.disk[at]}
		for _, p := range f.dirty[at] {
			if !slices.Contains(options, p) {
				options = append(options, p)
			}
		}
		f.disk[at] = options[d.choose(len(options))]
	}
	f.dirty[at] = nil
}

// lose settles a dirty piece when an error has occurred in writing it back.
func (d *disk) lose(f *file, at int) {
	if len(f.dirty[at]) == 0 {
		return
	}
	d.settle(f, at)
	if f.disk[at] != f.cache[at] && !d.rules.blocksRecover {
		f.lost[at] = true
	}
}

// rename gives a file its own name, which another file may have had.
func (d *disk) rename(f *file) {
	d.step()
	f.temporary = false
	d.change(change{f.name, f})
	d.say("  rename to %v", f)
}

func (d *disk) remove(n name) {
	d.step()
	d.change(change{name: n})
	d.say("  remove %v", n)
}

func (d *disk) change(c change) {
	d.names.apply(c)
	d.pending = append(d.pending, c)
}

// syncDir is fsync of the data directory. If it fails, the changes that it has
// not written stay pending: kvstore assumes that a later one persists them.
func (d *disk) syncDir() error {
	d.step()
	if len(d.pending) > 0 && d.syncFails() {
		d.settleNames()
		if d.rules.namesForgotten {
			d.pending = nil
		}
		d.say("  sync directory FAILS")
		return errSync
	}
	for _, c := range d.pending {
		d.synced.apply(c)
	}
	d.pending = nil
	d.say("  sync directory")
	return nil
}

// settleNames lets the adversary decide which pending changes the disk has.
func (d *disk) settleNames() {
	var rest []change
	for _, c := range d.pending {
		if d.flip() {
			d.synced.apply(c)
		} else {
			rest = append(rest, c)
		}
	}
	d.pending = rest
}

// powerCut leaves what the disk has.
func (d *disk) powerCut() {
	if d.self == dirUnsynced {
		if d.flip() {
			d.self, d.names, d.synced, d.pending = dirMissing, nil, nil, nil
			d.say("POWER CUT; the data directory is gone")
			return
		}
		d.self = dirPresent
	}
	d.say("POWER CUT; what is left:")
	d.settleNames()
	d.pending = nil
	d.names = slices.Clone(d.synced)
	for _, f := range d.names {
		for at := range f.disk {
			d.settle(f, at)
		}
		copy(f.cache, f.disk)
		clear(f.lost)
		d.say("  %v: %v", f, f.disk)
	}
}

// syncAll makes everything durable, without a fault.
func (d *disk) syncAll() {
	d.synced, d.pending, d.self = slices.Clone(d.names), nil, dirPresent
	for _, f := range d.names {
		copy(f.disk, f.cache)
		clear(f.dirty)
		clear(f.lost)
	}
}

// copyFiles replaces all files by copies that are not synced.
func (d *disk) copyFiles() {
	d.say("all files are replaced by copies that are not synced")
	d.synced, d.pending = nil, nil
	for i, old := range d.names {
		f := newFile(old.name, len(old.cache))
		f.temporary = false
		for at, p := range old.cache {
			f.set(at, p)
		}
		d.names[i] = f
		d.pending = append(d.pending, change{f.name, f})
	}
}

// evict drops clean pages from the cache, and reports whether a process can
// see that.
func (d *disk) evict() (visible bool) {
	for _, f := range d.names {
		for at := range f.disk {
			if len(f.dirty[at]) == 0 && f.cache[at] != f.disk[at] && d.flip() {
				f.cache[at] = f.disk[at]
				visible = true
				d.say("evicted: %v[%d] is %v again", f, at, f.disk[at])
			}
		}
	}
	return visible
}

// loseWrites has errors occur that are reported to nobody.
func (d *disk) loseWrites() {
	for _, f := range d.names {
		for at := range f.disk {
			if len(f.dirty[at]) > 0 && d.flip() {
				d.lose(f, at)
				d.say("unreported error: the disk has %v in %v[%d]", f.disk[at], f, at)
			}
		}
	}
}

// appendKey appends what distinguishes this disk from others.
func (d *disk) appendKey(b []byte) []byte {
	var seen directory
	appendFile := func(f *file) {
		if i := slices.Index(seen, f); i >= 0 {
			b = append(b, 'f', byte(i))
			return
		}
		seen = append(seen, f)
		b = append(b, 'F', bit(f.name.snapshot), byte(f.name.number))
		for at := range f.disk {
			b = append(b, bit(f.lost[at]), byte(len(f.dirty[at])))
			b = appendPieces(b, f.disk[at], f.cache[at])
			b = appendPieces(b, f.dirty[at]...)
		}
	}
	for _, files := range []directory{d.names, d.synced} {
		b = append(b, 'D', byte(len(files)))
		for _, f := range files {
			appendFile(f)
		}
	}
	b = append(b, byte(d.self), byte(len(d.pending)))
	for _, c := range d.pending {
		b = append(b, bit(c.name.snapshot), byte(c.name.number), bit(c.file != nil))
		if c.file != nil {
			appendFile(c.file)
		}
	}
	return b
}

func appendPieces(b []byte, pieces ...piece) []byte {
	for _, p := range pieces {
		b = append(b, byte(p.kind), p.id, p.index, p.number, p.durable, p.version, bit(p.forged))
	}
	return b
}

func bit(set bool) byte {
	if set {
		return 1
	}
	return 0
}
