package kvstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
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
// replaces the segments that may be in the kernel's cache alone by new files with what was judged. Why an fsync is not
// enough for that, and why writing again in the same file is not, is told in docs/DESIGN.md; the steps were model-checked
// in this order.
type recovery struct {
	dir vfs.Dir

	// What judge finds.
	files       listing
	table       *table.Table
	id          storeID         // of the store; a new one if the directory is fresh
	knowsID     bool            // id was read from a file
	fresh       bool            // no snapshot and no segment
	snapshot    uint64          // number of the snapshot that was loaded, 0 for none
	snapshotted uint64          // the last group it covers
	lastGroup   uint64          // the last group of the recovered prefix
	durable     uint64          // the highest group that the log itself proves durable
	unproven    []judgedSegment // segments with groups above durable, and the last segment
	last        uint64          // number of the last segment, 0 if there is none
	unused      bool            // the last segment has no group that counts
	walBytes    int64           // of the groups replayed
	replay      replay
	spare       []byte // memory for the next segment's bytes
	report      Recovery
}

// judgedSegment is what counts of a segment: SEGMENT, groups, and END if it was there.
type judgedSegment struct {
	number    uint64
	lastGroup uint64
	bytes     []byte
	ended     bool
}

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
		if err := r.replaySegment(number, len(segments)-1-i); err != nil {
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
	r.snapshotted, r.lastGroup, r.durable = loaded.lastGroup, loaded.lastGroup, loaded.lastGroup
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

// replaySegment verifies a segment and applies its groups; so many more are to follow.
func (r *recovery) replaySegment(number uint64, more int) error {
	isLast := more == 0
	data, err := r.readSegment(number, more)
	if err != nil {
		return err
	}
	defer r.replay.loading.Wait() // whatever comes, nobody works on the table any more
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
	r.replay.finish(r.table)
	r.walBytes += int64(offset - segmentEntryBytes)
	end, ended := s.endAt(offset)
	ended = ended && end.group == r.lastGroup
	if !ended && !isLast {
		return &CorruptError{File: segmentName(number), Offset: int64(offset), Reason: fmt.Sprintf(
			"neither group %d nor the segment's end is here, though a later segment exists", r.lastGroup+1)}
	}
	if isLast {
		r.last, r.unused = number, offset == segmentEntryBytes
		if !ended {
			if err := r.judgeTail(s, offset); err != nil {
				return err
			}
		}
	}
	counts := offset
	if ended {
		counts += endEntryBytes
	}
	r.forgetProven()
	r.unproven = append(r.unproven, judgedSegment{number: number, lastGroup: r.lastGroup, bytes: data[:counts], ended: ended})
	if isLast {
		r.reportDropped(s, counts)
	}
	return nil
}

// readSegment returns a segment's bytes. They lie in memory that an earlier segment needs no more, or that will do for the
// ones to follow too, which are twice as large each.
func (r *recovery) readSegment(number uint64, more int) (data []byte, err error) {
	name := segmentName(number)
	file, err := r.dir.OpenRead(name)
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
	if int64(cap(r.spare)) < size {
		r.spare = make([]byte, max(size, min(size<<min(more, 10), maxSegmentBytes)))
	}
	data, r.spare = r.spare[:size], nil
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
	if reason := r.replay.add(r.table, g.bytes[:g.length]); reason != "" {
		return damage(reason)
	}
	r.lastGroup = g.number
	r.durable = max(r.durable, g.durable)
	r.report.Groups++
	r.report.Entries += uint64(g.entries)
	return nil
}

// maxReplayOps is how many operations are collected before they are applied together, by all processors.
const maxReplayOps = 32 << 10

// replay collects operations and applies them while the next ones are being decoded. Its fields are owned by the
// goroutine that decodes; a Load under way has the slice it was given.
type replay struct {
	ops     []table.Op
	spare   []table.Op     // to collect into while ops are applied
	version int64          // of the last one of ops
	loading sync.WaitGroup // the Load under way
}

// add takes in SET and DELETE entries; it returns what is wrong with them, "" for nothing.
func (p *replay) add(t *table.Table, b []byte) (reason string) {
	for len(b) > 0 {
		e, _ := decodeEntry(b)
		switch {
		case len(e.key) > MaxKeyBytes || len(e.value) > MaxValueBytes:
			return "entry larger than any that is written"
		case e.op == opDelete && len(e.value) > 0:
			return "DELETE entry with a value"
		}
		p.ops = append(p.ops, table.Op{Key: e.key, Value: e.value, Delete: e.op == opDelete})
		p.version = e.timestamp
		b = b[e.size():]
		if len(p.ops) == maxReplayOps {
			p.apply(t)
		}
	}
	return ""
}

// apply begins to apply what was collected.
func (p *replay) apply(t *table.Table) {
	p.loading.Wait()
	ops, version := p.ops, p.version
	p.ops, p.spare = p.spare[:0], ops
	p.loading.Go(func() { t.Load(ops, version) })
}

// finish applies all that was collected; the bytes that it pointed into are free then.
func (p *replay) finish(t *table.Table) {
	if len(p.ops) > 0 {
		p.apply(t)
	}
	p.loading.Wait()
}

// forgetProven lets go of the bytes of segments whose groups all turned out to be durable: the first ones, since numbers rise.
func (r *recovery) forgetProven() {
	for len(r.unproven) > 0 && r.unproven[0].lastGroup <= r.durable {
		r.spare, r.unproven[0].bytes = r.unproven[0].bytes[:0], nil
		r.unproven = r.unproven[1:]
	}
}

// judgeTail decides whether what lies behind the last good group of the last segment is a torn tail or damage. The bad spot is
// damage if anything behind it knows the group that belongs there to have been durable.
func (r *recovery) judgeTail(s *segmentBytes, offset int) error {
	durable, at := s.durableBehind(offset)
	if durable > r.lastGroup {
		return &CorruptError{File: segmentName(s.number), Offset: int64(offset), Reason: fmt.Sprintf(
			"group %d is damaged: the entry at offset %d knows that group %d was durable", r.lastGroup+1, at, durable)}
	}
	r.durable = max(r.durable, durable)
	return nil
}

// reportDropped tells of what lies behind offset in the last segment, if it is not just reserved space.
func (r *recovery) reportDropped(s *segmentBytes, offset int) {
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
	if err := r.replaceUnproven(); err != nil {
		return err
	}
	if err := r.syncLoaded(); err != nil {
		return err
	}
	// The names too, before a later segment gets one.
	return syncDir(r.dir)
}

// replaceUnproven makes new files of the segments that the kernel's cache may show without the disk having them: those with groups that
// nothing proves durable, and the last one, whose END may be missing. They are written from the bytes that were judged, under their
// own names in the end. A last segment without groups is left alone: the session's own replaces it.
func (r *recovery) replaceUnproven() error {
	for _, s := range r.unproven {
		if s.number == r.last && r.unused {
			continue
		}
		var end []byte
		if !s.ended {
			seed := seedAt(r.id, s.number, int64(len(s.bytes)))
			end = appendEnd(nil, r.table.Version(), endRecord{group: r.lastGroup, durable: min(r.durable, r.lastGroup)}, seed)
		}
		if err := replaceFile(r.dir, segmentName(s.number), s.bytes, end); err != nil {
			return fmt.Errorf("kvstore: repair %s: %w", segmentName(s.number), err)
		}
	}
	return nil
}

// replaceFile gives name to a new file of body and tail. The file is durable; its name is after a sync of the directory.
func replaceFile(dir vfs.Dir, name string, body, tail []byte) error {
	file, err := dir.Create(name + tmpSuffix)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(body, 0)
	if err == nil && len(tail) > 0 {
		_, err = file.WriteAt(tail, int64(len(body)))
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = dir.Rename(name+tmpSuffix, name)
	}
	if err != nil {
		return discard(dir, name+tmpSuffix, err)
	}
	return nil
}

// syncLoaded fsyncs every file that was loaded and not replaced.
func (r *recovery) syncLoaded() error {
	if r.snapshot > 0 {
		if err := r.sync(snapshotName(r.snapshot)); err != nil {
			return err
		}
	}
	if r.last == 0 {
		return nil
	}
	for number := max(r.snapshot, 1); number < r.unproven[0].number; number++ {
		if err := r.sync(segmentName(number)); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) sync(name string) error {
	file, err := r.dir.Open(name)
	if err == nil {
		err = errors.Join(file.Sync(), file.Close())
	}
	if err != nil {
		return fmt.Errorf("kvstore: sync %s: %w", name, err)
	}
	return nil
}

// beginSegment makes the session's own segment. No session appends to a recovered one, or else the tail that one
// crash left would look like damage after the next.
func (r *recovery) beginSegment(config Config, env environment) (*segment, error) {
	header := segmentHeader{version: formatVersion, id: r.id, number: max(r.snapshot, 1)}
	if r.last > 0 {
		header.number = r.last + 1
	}
	if r.unused {
		header.number = r.last
	}
	plan := segmentPlan{header: header, timestamp: env.now().UnixNano(), size: env.firstSegmentBytes}
	if config.SyncWrites {
		plan.group = 1 // unknown yet, and who writes large groups will not notice
	}
	s, err := reserveSegment(r.dir, plan, segmentEntryBytes+endEntryBytes)
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
