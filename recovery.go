package kvstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"kvstore/internal/table"
	"kvstore/internal/vfs"
)

// Recovery tells what Open found; it is part of Stats.
type Recovery struct {
	Snapshot string        // base name of the snapshot that was loaded, "" if there was none
	Groups   uint64        // groups replayed from the log
	Entries  uint64        // SET and DELETE entries in them
	Dropped  []Dropped     // torn tails: incomplete writes that a crash left, none of them acknowledged as durable
	Took     time.Duration // from the call of Open until the store could serve
}

// Dropped is a torn tail of the log that recovery cut off.
type Dropped struct {
	File   string // base name
	Offset int64  // where the tail begins
	Bytes  int64  // up to the last byte that was not zero
}

// recovery brings a directory's state into memory and makes it durable. It has two halves. The first one, judge, reads
// every file, changes none, and either refuses or knows all; a ReadOnly store stops there. The second one, repair,
// cuts off the torn tail and writes again what may be in the kernel's cache alone. Why an fsync is not enough for
// that, and why nothing else would do, is told in docs/DESIGN.md; the steps were model-checked in this order.
type recovery struct {
	dir vfs.Dir

	// What judge finds.
	files       listing
	table       *table.Table
	id          storeID       // of the store; a new one if the directory is fresh
	knowsID     bool          // id was read from a file
	fresh       bool          // no snapshot and no segment
	snapshot    uint64        // number of the snapshot that was loaded, 0 for none
	snapshotted uint64        // the last group it covers
	lastGroup   uint64        // the last group of the recovered prefix
	durable     uint64        // the highest group that the log itself proves durable
	unproven    []placedGroup // groups above durable, with the bytes that were judged
	last        *lastSegment  // nil if there is no segment
	walBytes    int64         // of the groups replayed
	report      Recovery
}

// placedGroup is a group's bytes and where they lie.
type placedGroup struct {
	segment uint64
	offset  int64
	number  uint64
	bytes   []byte
}

// lastSegment is what the last segment ends with.
type lastSegment struct {
	number uint64
	size   int64
	offset int64  // behind the last group: of END, whether it is there or belongs there
	end    []byte // the END entry found, nil if there is none
}

// unused reports whether no group of the segment counts. Then the new session's segment replaces it, so that a process that
// is killed again and again before it writes leaves one segment, not one each time.
func (l *lastSegment) unused() bool { return l.offset == segmentEntryBytes }

// judge loads the newest snapshot and replays the segments that follow it.
func (r *recovery) judge() (err error) {
	if r.files, err = list(r.dir); err != nil {
		return err
	}
	if err := r.loadNewestSnapshot(); err != nil {
		return err
	}
	segments, err := r.segmentsToReplay()
	if err != nil {
		return err
	}
	r.fresh = r.snapshot == 0 && len(segments) == 0
	if r.fresh {
		_, _ = rand.Read(r.id[:]) // never fails: crypto/rand ends the program first
	}
	for i, number := range segments {
		if err := r.replaySegment(number, i == len(segments)-1); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) loadNewestSnapshot() error {
	if len(r.files.snapshots) == 0 {
		r.table = table.New(0)
		return nil
	}
	r.snapshot = r.files.snapshots[len(r.files.snapshots)-1]
	loaded, err := loadSnapshot(r.dir, r.snapshot)
	if err != nil {
		return err
	}
	r.table, r.id, r.knowsID = loaded.table, loaded.id, true
	r.snapshotted, r.lastGroup = loaded.lastGroup, loaded.lastGroup
	r.report.Snapshot = snapshotName(r.snapshot)
	return nil
}

// segmentsToReplay returns the numbers of the segments that the snapshot does not cover. They must follow it, and each
// other, without a gap.
func (r *recovery) segmentsToReplay() ([]uint64, error) {
	first := max(r.snapshot, 1)
	from, _ := slices.BinarySearch(r.files.segments, first)
	segments := r.files.segments[from:]
	for i, number := range segments {
		if missing := first + uint64(i); number != missing {
			return nil, &CorruptError{File: segmentName(missing), Reason: "missing, though later segments are there"}
		}
	}
	return segments, nil
}

// replaySegment verifies a segment and applies its groups.
func (r *recovery) replaySegment(number uint64, isLast bool) error {
	data, err := readSegment(r.dir, number)
	if err != nil {
		return err
	}
	s := &segmentBytes{number: number, data: data}
	if err := r.checkHeader(s); err != nil {
		return err
	}
	offset := segmentEntryBytes
	for {
		g, ok := s.groupAt(offset)
		if !ok {
			break
		}
		if err := r.replayGroup(s, offset, &g); err != nil {
			return err
		}
		offset += len(g.bytes)
	}
	end, ended := s.endAt(offset)
	ended = ended && end.group == r.lastGroup
	r.walBytes += int64(offset - segmentEntryBytes)
	r.forgetProven()
	switch {
	case isLast:
		return r.judgeTail(s, offset, ended)
	case !ended:
		return &CorruptError{File: segmentName(number), Offset: int64(offset), Reason: fmt.Sprintf(
			"neither group %d nor the segment's end is here, though a later segment exists", r.lastGroup+1)}
	}
	return nil
}

func readSegment(dir vfs.Dir, number uint64) (data []byte, err error) {
	name := segmentName(number)
	file, err := dir.OpenRead(name)
	if err != nil {
		return nil, fmt.Errorf("kvstore: open %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return nil, fmt.Errorf("kvstore: size of %s: %w", name, err)
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("kvstore: %s is too large for this platform: %d bytes", name, size)
	}
	data = make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, size), data); err != nil && size > 0 {
		return nil, fmt.Errorf("kvstore: read %s: %w", name, err)
	}
	return data, nil
}

// checkHeader verifies the SEGMENT entry. It was durable before the file had its name, so that nothing but damage can
// explain a bad one.
func (r *recovery) checkHeader(s *segmentBytes) error {
	name := segmentName(s.number)
	h, ok := decodeSegmentHeader(s.data)
	switch {
	case !ok:
		return &CorruptError{File: name, Reason: "no valid SEGMENT entry"}
	case h.version > formatVersion:
		return fmt.Errorf("%w: %s is of version %d, this package reads up to %d", ErrVersion, name, h.version, formatVersion)
	case h.number != s.number:
		return &CorruptError{File: name, Reason: fmt.Sprintf("is segment %d under another name", h.number)}
	case r.knowsID && h.id != r.id:
		return &CorruptError{File: name, Reason: "belongs to another store"}
	}
	r.id, r.knowsID = h.id, true
	s.id = h.id
	return nil
}

// replayGroup applies a group whose checksums are right.
func (r *recovery) replayGroup(s *segmentBytes, offset int, g *group) error {
	damage := func(reason string) error {
		return &CorruptError{File: segmentName(s.number), Offset: int64(offset), Reason: reason}
	}
	if g.number != r.lastGroup+1 {
		return damage(fmt.Sprintf("group %d is here where group %d belongs", g.number, r.lastGroup+1))
	}
	if g.strange {
		return fmt.Errorf("%w: %s at offset %d: unknown op 0x%02x", ErrVersion, segmentName(s.number), offset, byte(g.unknown))
	}
	if reason := applyEntries(r.table, g.bytes[:g.length]); reason != "" {
		return damage(reason)
	}
	r.lastGroup = g.number
	r.durable = max(r.durable, g.durable)
	r.unproven = append(r.unproven, placedGroup{
		segment: s.number, offset: int64(offset), number: g.number, bytes: g.bytes,
	})
	r.report.Groups++
	r.report.Entries += uint64(g.entries)
	return nil
}

// applyEntries applies SET and DELETE entries in order; it returns what is wrong with them, "" for nothing.
func applyEntries(t *table.Table, b []byte) (reason string) {
	var ops [512]table.Op
	for len(b) > 0 {
		n, version := 0, int64(0)
		for ; n < len(ops) && len(b) > 0; n++ {
			e, _ := decodeEntry(b)
			switch {
			case len(e.key) > MaxKeyBytes || len(e.value) > MaxValueBytes:
				return "entry larger than any that is written"
			case e.op == opDelete && len(e.value) > 0:
				return "DELETE entry with a value"
			}
			ops[n] = table.Op{Key: e.key, Value: e.value, Delete: e.op == opDelete}
			version = e.timestamp
			b = b[e.size():]
		}
		t.Load(ops[:n], version)
	}
	return ""
}

// forgetProven lets go of the bytes of groups that turned out to be durable: the first ones, since numbers rise.
func (r *recovery) forgetProven() {
	for len(r.unproven) > 0 && r.unproven[0].number <= r.durable {
		r.unproven[0].bytes = nil
		r.unproven = r.unproven[1:]
	}
}

// judgeTail decides whether what lies behind the last good group of the last segment is a torn tail or damage. The bad spot is
// damage if anything behind it knows the group that belongs there to have been durable.
func (r *recovery) judgeTail(s *segmentBytes, offset int, ended bool) error {
	r.last = &lastSegment{number: s.number, size: int64(len(s.data)), offset: int64(offset)}
	if ended {
		r.last.end = s.data[offset : offset+endEntryBytes]
		r.drop(s, offset+endEntryBytes)
		return nil
	}
	durable, at := s.durableBehind(offset)
	if durable > r.lastGroup {
		return &CorruptError{File: segmentName(s.number), Offset: int64(offset), Reason: fmt.Sprintf(
			"group %d is damaged: the entry at offset %d knows that group %d was durable", r.lastGroup+1, at, durable)}
	}
	r.durable = max(r.durable, durable)
	r.forgetProven()
	r.drop(s, offset)
	return nil
}

// drop reports what lies behind offset, if it is not just reserved space.
func (r *recovery) drop(s *segmentBytes, offset int) {
	if tail := bytes.TrimRight(s.data[offset:], "\x00"); len(tail) > 0 {
		r.report.Dropped = append(r.report.Dropped, Dropped{
			File: segmentName(s.number), Offset: int64(offset), Bytes: int64(len(tail)),
		})
	}
}

// repair makes everything durable that judge has loaded.
func (r *recovery) repair() error {
	if err := removeAll(r.dir, r.files.temporary); err != nil {
		return err
	}
	if r.fresh {
		return nil
	}
	if err := r.rewrite(); err != nil {
		return err
	}
	if err := r.syncLoaded(); err != nil {
		return err
	}
	// The names too, before a later segment gets one.
	return syncDir(r.dir)
}

// rewrite writes, in the same place, what the kernel's cache may show without the disk having it: the zeros behind the last
// segment's groups, its END, and the groups that nothing proves durable, from the bytes that were judged. After an
// fsync that failed in an earlier session those pages are clean, and an fsync alone would write none of them.
func (r *recovery) rewrite() error {
	if r.last != nil && !r.last.unused() {
		if err := r.rewriteTail(); err != nil {
			return err
		}
	}
	for len(r.unproven) > 0 {
		number := r.unproven[0].segment
		n := slices.IndexFunc(r.unproven, func(g placedGroup) bool { return g.segment != number })
		if n < 0 {
			n = len(r.unproven)
		}
		if err := r.rewriteGroups(number, r.unproven[:n]); err != nil {
			return err
		}
		r.unproven = r.unproven[n:]
	}
	return nil
}

func (r *recovery) rewriteGroups(segment uint64, groups []placedGroup) error {
	return r.withSegment(segment, func(file vfs.File) error {
		for _, g := range groups {
			if _, err := file.WriteAt(g.bytes, g.offset); err != nil {
				return err
			}
		}
		return nil
	})
}

// rewriteTail cuts the tail to zeros and puts END behind the last group.
func (r *recovery) rewriteTail() error {
	end := r.last.end
	if end == nil {
		end = appendEnd(nil, r.table.Version(), endRecord{group: r.lastGroup, durable: min(r.durable, r.lastGroup)},
			seedAt(r.id, r.last.number, r.last.offset))
	}
	return r.withSegment(r.last.number, func(file vfs.File) error {
		zeros := make([]byte, min(1<<20, max(0, r.last.size-r.last.offset)))
		for at := r.last.offset; at < r.last.size; at += int64(len(zeros)) {
			zeros = zeros[:min(int64(len(zeros)), r.last.size-at)]
			if _, err := file.WriteAt(zeros, at); err != nil {
				return err
			}
		}
		_, err := file.WriteAt(end, r.last.offset)
		return err
	})
}

// syncLoaded fsyncs every file that was loaded.
func (r *recovery) syncLoaded() error {
	sync := func(file vfs.File) error { return file.Sync() }
	if r.snapshot > 0 {
		if err := r.withFile(snapshotName(r.snapshot), sync); err != nil {
			return err
		}
	}
	if r.last == nil {
		return nil
	}
	end := r.last.number + 1
	if r.last.unused() {
		end = r.last.number
	}
	for number := max(r.snapshot, 1); number < end; number++ {
		if err := r.withSegment(number, sync); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) withSegment(number uint64, do func(vfs.File) error) error {
	return r.withFile(segmentName(number), do)
}

func (r *recovery) withFile(name string, do func(vfs.File) error) error {
	file, err := r.dir.Open(name)
	if err == nil {
		err = errors.Join(do(file), file.Close())
	}
	if err != nil {
		return fmt.Errorf("kvstore: repair %s: %w", name, err)
	}
	return nil
}

// beginSegment makes the session's own segment. No session appends to a recovered one, or else the tail that one
// crash left would look like damage after the next.
func (r *recovery) beginSegment(env environment) (*segment, error) {
	header := segmentHeader{version: formatVersion, id: r.id, number: max(r.snapshot, 1)}
	if r.last != nil {
		header.number = r.last.number + 1
	}
	if r.last != nil && r.last.unused() {
		header.number = r.last.number
	}
	s, err := reserveSegment(r.dir, header, env.now().UnixNano(), env.firstSegmentBytes, segmentEntryBytes+endEntryBytes)
	if err != nil {
		return nil, err
	}
	if err := s.publish(r.dir); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// log tells what was found.
func (r *recovery) log(config Config) {
	l := config.Logger.With("dir", config.DataDir)
	for _, d := range r.report.Dropped {
		l.Warn("kvstore: dropped the torn tail of the log", "file", d.File, "offset", d.Offset, "bytes", d.Bytes)
	}
	if !config.SyncWrites && !config.ReadOnly {
		l.Warn("kvstore: SyncWrites is off, a power cut may lose the last writes", "interval", config.SyncInterval)
	}
	l.Info("kvstore: opened", "snapshot", r.report.Snapshot, "groups", r.report.Groups, "entries", r.report.Entries,
		"keys", r.table.Len(), "took", r.report.Took)
}
