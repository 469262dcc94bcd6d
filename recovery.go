package kvstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"kvstore/internal/format"
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
	files       format.Files
	table       *table.Table
	chain       format.Chain    // what was read so far; with a new id if the directory is fresh
	fresh       bool            // no snapshot and no segment
	snapshot    uint64          // number of the snapshot that was loaded, 0 for none
	snapshotted uint64          // the last group it covers
	unproven    []judgedSegment // segments with groups above chain.Durable, and the last segment
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
	segments, err := r.files.Following(r.snapshot)
	if err != nil {
		return formatError(err)
	}
	if r.fresh = r.files.Empty(); r.fresh {
		_, _ = rand.Read(r.chain.ID[:]) // never fails: crypto/rand ends the program first
	}
	for i, number := range segments {
		if err := r.replaySegment(number, len(segments)-1-i); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) loadNewestSnapshot() error {
	if r.snapshot = r.files.Newest(); r.snapshot == 0 {
		r.table = table.New(0)
		return nil
	}
	loaded, err := loadSnapshot(r.dir, r.snapshot)
	if err != nil {
		return err
	}
	r.table, r.snapshotted = loaded.table, loaded.LastGroup
	r.chain.Begin(loaded.Snapshot)
	r.report.Snapshot = format.SnapshotName(r.snapshot)
	return nil
}

// replaySegment verifies a segment and applies its groups; so many more are to follow.
func (r *recovery) replaySegment(number uint64, more int) error {
	data, err := r.readSegment(number, more)
	if err != nil {
		return err
	}
	defer r.replay.loading.Wait() // whatever comes, nobody works on the table any more
	scanner, err := r.chain.Scan(number, data)
	if err != nil {
		return formatError(err)
	}
	if err := r.replayGroups(scanner); err != nil {
		return formatError(err)
	}
	isLast := more == 0
	tail, err := scanner.Tail(isLast)
	if err != nil {
		return formatError(err)
	}
	r.replay.finish(r.table)
	r.walBytes += int64(scanner.Offset() - format.SegmentEntryBytes)
	if isLast {
		r.last, r.unused = number, scanner.Offset() == format.SegmentEntryBytes
	}
	r.forgetProven()
	r.unproven = append(r.unproven, judgedSegment{
		number: number, lastGroup: r.chain.LastGroup, bytes: data[:tail.Offset], ended: tail.Ended,
	})
	if tail.Torn > 0 {
		r.report.Dropped = append(r.report.Dropped, Dropped{
			File: format.SegmentName(number), Offset: int64(tail.Offset), Bytes: tail.Torn,
		})
	}
	return nil
}

// replayGroups takes in the groups of a segment, up to the spot where none follows.
func (r *recovery) replayGroups(scanner *format.Scanner) error {
	for {
		g, ok, err := scanner.Next()
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		r.replay.add(r.table, g.Body())
		r.report.Groups++
		r.report.Entries += uint64(g.Entries)
	}
}

// readSegment returns a segment's bytes. They lie in memory that an earlier segment needs no more, or that will do for the
// ones to follow too, which are twice as large each.
func (r *recovery) readSegment(number uint64, more int) (data []byte, err error) {
	name := format.SegmentName(number)
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

// add takes in SET and DELETE entries.
func (p *replay) add(t *table.Table, entries []byte) {
	for _, e := range format.Entries(entries) {
		p.ops = append(p.ops, table.Op{Key: e.Key, Value: e.Value, Delete: e.Op == format.OpDelete})
		p.version = e.Timestamp
		if len(p.ops) == maxReplayOps {
			p.apply(t)
		}
	}
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
	for len(r.unproven) > 0 && r.unproven[0].lastGroup <= r.chain.Durable {
		r.spare, r.unproven[0].bytes = r.unproven[0].bytes[:0], nil
		r.unproven = r.unproven[1:]
	}
}

// repair makes everything durable that judge has loaded.
func (r *recovery) repair() error {
	if err := removeAll(r.dir, r.files.Temporary); err != nil {
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
			seed := format.Seed(r.chain.ID, s.number, int64(len(s.bytes)))
			record := format.End{Group: r.chain.LastGroup, Durable: min(r.chain.Durable, r.chain.LastGroup)}
			end = format.AppendEnd(nil, r.table.Version(), record, seed)
		}
		if err := replaceFile(r.dir, format.SegmentName(s.number), s.bytes, end); err != nil {
			return fmt.Errorf("kvstore: repair %s: %w", format.SegmentName(s.number), err)
		}
	}
	return nil
}

// replaceFile gives name to a new file of body and tail.
func replaceFile(dir vfs.Dir, name string, body, tail []byte) error {
	return writeFile(dir, name, func(file vfs.File) error {
		_, err := file.WriteAt(body, 0)
		if err == nil && len(tail) > 0 {
			_, err = file.WriteAt(tail, int64(len(body)))
		}
		return err
	})
}

// syncLoaded fsyncs every file that was loaded and not replaced.
func (r *recovery) syncLoaded() error {
	if r.snapshot > 0 {
		if err := r.sync(format.SnapshotName(r.snapshot)); err != nil {
			return err
		}
	}
	if r.last == 0 {
		return nil
	}
	for number := max(r.snapshot, 1); number < r.unproven[0].number; number++ {
		if err := r.sync(format.SegmentName(number)); err != nil {
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
	header := format.Header{Version: format.Version, ID: r.chain.ID, Number: max(r.snapshot, 1)}
	if r.last > 0 {
		header.Number = r.last + 1
	}
	if r.unused {
		header.Number = r.last
	}
	plan := segmentPlan{header: header, timestamp: env.now().UnixNano(), size: env.firstSegmentBytes}
	if config.SyncWrites {
		plan.group = 1 // unknown yet, and who writes large groups will not notice
	}
	s, err := reserveSegment(r.dir, plan, format.SegmentEntryBytes+format.EndEntryBytes)
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
