package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"slices"
	"time"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lockwait"
	"kvstore/internal/format"
)

// Account is what Salvage has copied, and what is lost.
type Account struct {
	Source   string   `json:"source"`
	Target   string   `json:"target"`
	Snapshot string   `json:"snapshot,omitempty"` // the newest whole one, with which the new store begins
	Pairs    uint64   `json:"pairs"`              // copied from snapshots
	Groups   uint64   `json:"groups"`             // copied from the log
	Entries  uint64   `json:"entries"`            // entries in them, without COMMIT
	Last     uint64   `json:"last_group"`         // the newest group in the new store
	Stopped  bool     `json:"stopped"`            // Salvage stopped at the first loss
	Keys     int      `json:"keys"`               // in the new store
	Dropped  *Dropped `json:"dropped,omitempty"`  // what Open would drop from the end of the log
	Files    []File   `json:"files"`
	Damage   []Damage `json:"damage"`
	Loss     Loss     `json:"loss"` // the verdict: see lossOf
}

// Options are options of Salvage.
type Options struct {
	// UntilLoss stops where data is certainly missing: the result is then a
	// state that the store once had.
	UntilLoss bool

	// Wait is how long another process may have the lock of the target.
	Wait time.Duration

	Progress func(done, total int64)
}

// Salvage makes a store in target of everything in source that checksums prove.
// target must not have a store; nothing is written to source. If Open accepts
// source, the new store has exactly what Open would read. Otherwise it begins
// with the newest whole snapshot, and all valid groups follow in their order.
// Of a newer snapshot that is damaged, Salvage copies the valid blocks, unless
// the log has everything that the snapshot covers.
//
// An error is one of listing source, of writing, ErrVersion for files of a
// later version, or fs.ErrExist. After an error there is no store in target.
func Salvage(ctx context.Context, source, target string, o Options) (*Account, error) {
	d, err := openDirectory(source)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return salvageDirectory(ctx, d, target, o)
}

// salvageDirectory is Salvage of an open directory.
func salvageDirectory(ctx context.Context, d *directory, target string, o Options) (*Account, error) {
	s := &salvage{
		directory: d, ctx: ctx, Options: o,
		account: &Account{Source: d.path, Target: target, Files: []File{}, Damage: []Damage{}},
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	return s.account, nil
}

// salvage is a running Salvage.
type salvage struct {
	*directory
	Options
	ctx         context.Context
	done, total int64

	judged  judgement // what Open would do with the source
	sources []source  // to take from, in the order of their contents
	base    int       // index in sources of the newest whole snapshot; -1 for none
	survey  *survey
	store   *kvstore.Store
	batch   kvstore.Batch
	bytes   int // in batch
	account *Account
}

// source is a file. Its number is the one in its contents, which its name may
// contradict.
type source struct {
	dataFile
	number uint64
	found  snapshotFound // of a snapshot
}

// run makes the new store and completes the account.
func (s *salvage) run() error {
	if len(s.data) == 0 {
		return fmt.Errorf("%s: no files of a store: %w", s.path, fs.ErrNotExist)
	}
	if err := s.look(); err != nil {
		return err
	}
	t, err := newTarget(s.account.Target)
	if err != nil {
		return err
	}
	err = s.fill(t)
	if err == nil {
		err = s.verify(t.path)
	}
	if err != nil {
		return errors.Join(err, t.clear())
	}
	s.conclude()
	return nil
}

// conclude completes the account with the verdict.
func (s *salvage) conclude() {
	a := s.account
	a.Dropped = s.judged.dropped()
	if s.judged.refuses() {
		a.Damage = withReason(a.Damage, s.judged.reason)
	}
	a.Loss = lossOf(a.Damage)
}

// look identifies the files, judges them as Open does, and chooses the snapshot
// to begin with.
func (s *salvage) look() error {
	var newest snapshotFound
	for _, f := range s.data {
		src := source{dataFile: f, number: f.number}
		if err := src.identify(s.ctx); err != nil {
			return err
		}
		if src.isSnapshot {
			newest = src.found
		}
		s.sources = append(s.sources, src)
	}
	s.judged = s.judge(s.ctx, newest)
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case s.judged.verdict == Later:
		return laterError(s.judged.reason)
	case !s.judged.refuses():
		s.keepNeeded()
	}
	return s.choose()
}

// keepNeeded leaves out the files that Open does not read.
func (s *salvage) keepNeeded() {
	s.sources = slices.DeleteFunc(s.sources, func(src source) bool { return src.dataFile.number < s.files.Newest() })
}

// choose puts the files in the order of their contents, and chooses the
// snapshot to begin with.
func (s *salvage) choose() error {
	id, err := s.storeID()
	if err != nil {
		return err
	}
	slices.SortStableFunc(s.sources, compareSources)
	s.base = -1
	for i, src := range s.sources {
		if src.isSnapshot && src.found.whole() && (src.found.guessed || src.found.info.ID == id) {
			s.base = i
		}
	}
	s.survey = newSurvey(id, nil, s.group)
	if s.base >= 0 {
		s.begin(&s.sources[s.base])
	}
	return nil
}

// storeID returns the id of the store. The error is ErrVersion if a later
// version wrote a snapshot.
func (s *salvage) storeID() (id format.StoreID, err error) {
	var infos []*format.Snapshot
	for _, src := range slices.Backward(s.sources) {
		if verdictOn(src.found.err) == Later {
			return id, laterError(src.found.err)
		}
		if src.found.info != nil && !src.found.guessed {
			infos = append(infos, src.found.info)
		}
	}
	if !s.judged.refuses() && len(infos) > 0 {
		return infos[0].ID, nil // that of all files that Open reads
	}
	return s.identity(infos...), nil
}

// begin makes the new store begin with a snapshot.
func (s *salvage) begin(src *source) {
	s.account.Snapshot = src.name
	if found := src.found; found.guessed {
		s.survey.unknown = true
	} else {
		s.survey.last, s.survey.version = found.info.LastGroup, found.info.Timestamp
	}
	s.report(src, None)
}

// report reports the damage in a snapshot, with this loss.
func (s *salvage) report(src *source, loss Loss) {
	for _, d := range src.found.damage(&src.dataFile, true) {
		d.Loss = loss
		s.survey.damage = append(s.survey.damage, d)
	}
}

// identify reads what the file is. Its contents count more than its name. The
// error is that of ctx.
func (src *source) identify(ctx context.Context) (err error) {
	if !src.isSnapshot {
		if h, ok := src.header(); ok {
			src.number = h.Number
		}
		return nil
	}
	ignore := func(format.Pair) error { return ctx.Err() }
	src.found, err = surveySnapshot(&src.dataFile, true, ignore, func(int64) {})
	if src.found.info != nil && !src.found.guessed {
		src.number = src.found.info.Number
	}
	return err
}

// laterError returns the error for files of a later version.
func laterError(reason error) error { return fmt.Errorf("%w: %w", kvstore.ErrVersion, reason) }

// compareSources orders files by their contents. A snapshot comes before the
// segment that continues from it.
func compareSources(a, b source) int {
	return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(b.kind(), a.kind()))
}

func (src *source) kind() int {
	if src.isSnapshot {
		return 1
	}
	return 0
}

// errLoss stops a salvage with UntilLoss at the first loss.
var errLoss = errors.New("something is lost")

// fill makes the store.
func (s *salvage) fill(t *targetDir) (err error) {
	if s.store, err = t.open(s.ctx, s.Wait); err != nil {
		return err
	}
	err = s.take()
	s.buf = nil // nothing is read any more
	if errors.Is(err, errLoss) {
		s.account.Stopped, err = true, nil
	}
	s.survey.end()
	if err == nil {
		err = s.flush()
	}
	a := s.account
	a.Keys = s.store.Len()
	a.Files, a.Damage = append(a.Files, s.survey.files...), append(a.Damage, s.survey.damage...)
	return errors.Join(err, s.store.Close())
}

// take copies the snapshot to begin with, and what follows it.
func (s *salvage) take() error {
	for _, src := range s.sources[max(s.base, 0):] { // the snapshot covers those before it
		s.total += src.size
	}
	if s.base >= 0 {
		if err := s.pairs(&s.sources[s.base]); err != nil {
			return err
		}
	}
	for i := s.base + 1; i < len(s.sources); i++ {
		src := &s.sources[i]
		take := s.segment
		if src.isSnapshot {
			take = s.damagedSnapshot
		}
		if err := take(src); err != nil {
			return err
		}
		for _, d := range slices.Concat(s.survey.damage, s.survey.pending) {
			if d.later {
				return laterError(&format.Later{File: d.File, Detail: d.Reason})
			}
		}
	}
	return nil
}

// segment copies the valid groups of a segment.
func (s *salvage) segment(src *source) error {
	data, err := s.read(&src.dataFile)
	if err != nil {
		s.survey.unreadable(&src.dataFile, err, true)
		return nil
	}
	if !s.judged.refuses() && src.name == s.judged.last {
		data = data[:s.judged.tail.Offset] // Open drops the rest, whatever it is
	}
	isLast := src.name == s.sources[len(s.sources)-1].name
	if err := s.survey.segment(&src.dataFile, data, true, isLast); err != nil {
		return err
	}
	s.add(src.size)
	return nil
}

// damagedSnapshot copies the valid blocks of a snapshot. They are right as of
// the snapshot's moment, whatever was lost before. If the log has everything
// that the snapshot covers, the damaged blocks lose nothing.
func (s *salvage) damagedSnapshot(src *source) error {
	v, found := s.survey, &src.found
	switch {
	case found.info != nil && !found.guessed && found.info.ID != v.id:
		s.report(src, None)
		v.damage = append(v.damage, Damage{File: src.name, Reason: "belongs to another store", Loss: None})
		return nil
	case found.info == nil || found.guessed:
		s.pend(src)
	case !v.lossy && v.last >= found.info.LastGroup:
		s.report(src, None)
	default:
		if s.UntilLoss {
			v.lossy = true
			s.report(src, Certain)
			return errLoss
		}
		v.damage = append(v.damage, v.pending...)
		s.report(src, Certain)
		v.pending, v.lossy = nil, true
		v.last, v.version = found.info.LastGroup, found.info.Timestamp
	}
	if found.info == nil || s.UntilLoss {
		return nil
	}
	return s.pairs(src)
}

// pend reports the damage in a snapshot of which nothing proves what groups it
// covers. The next group shows that. If none follows, what comes before the
// snapshot may be all that it covers.
func (s *salvage) pend(src *source) {
	for _, d := range src.found.damage(&src.dataFile, true) {
		if s.survey.last > 0 {
			d.Loss = Possible
		}
		s.survey.pending = append(s.survey.pending, d)
	}
}

// pairs copies the pairs in a snapshot's valid blocks. It is an error if there
// are fewer of them than before: then the disk is failing.
func (s *salvage) pairs(src *source) error {
	if !src.found.guessed {
		s.account.Last = max(s.account.Last, src.found.info.LastGroup)
	}
	s.account.Files = append(s.account.Files, src.found.file(&src.dataFile, true))
	found, err := surveySnapshot(&src.dataFile, true, func(p format.Pair) error {
		s.account.Pairs++
		if len(p.Value) > largeBytes {
			return s.setLarge(string(p.Key), p.Value)
		}
		s.batch.Set(string(p.Key), p.Value)
		return s.grow(len(p.Key) + len(p.Value))
	}, s.add)
	if err == nil && (found.info == nil || len(found.bad) > len(src.found.bad)) {
		err = found.err
	}
	return err
}

// group copies a group.
func (s *salvage) group(g *format.Group) error {
	if s.UntilLoss && s.survey.lossy {
		return errLoss
	}
	s.account.Last = g.Number
	s.account.Groups++
	s.account.Entries += uint64(g.Entries)
	for _, e := range format.Entries(g.Body()) {
		switch e.Op {
		case format.OpSet:
			if len(e.Value) > largeBytes {
				if err := s.setLarge(string(e.Key), e.Value); err != nil {
					return err
				}
				continue
			}
			s.batch.Set(string(e.Key), e.Value)
		case format.OpDelete:
			s.batch.Delete(string(e.Key))
		case format.OpExpire, format.OpCause: // no pair
		case format.OpSegment, format.OpCommit, format.OpEnd: // never in a valid group
		}
		if err := s.grow(len(e.Key) + len(e.Value)); err != nil {
			return err
		}
	}
	return nil
}

const (
	batchBytes = 1 << 20 // size of a batch
	largeBytes = 4 << 20 // size of a value that is set by itself, so that no batch has one more copy
)

// setLarge sets a large value behind what is in the batch.
func (s *salvage) setLarge(key string, value []byte) error {
	if err := s.flush(); err != nil {
		return err
	}
	debug.FreeOSMemory() // so that the value's copies do not come on top of garbage
	err := s.store.Set(key, value)
	debug.FreeOSMemory() // the store's copy of it
	return err
}

// grow counts a write of n bytes, and flushes the batch if it is large enough.
func (s *salvage) grow(n int) error {
	if s.bytes += n + format.EntryOverhead; s.bytes < batchBytes {
		return nil
	}
	return s.flush()
}

// flush writes the batch.
func (s *salvage) flush() error {
	err := s.store.Apply(s.ctx, &s.batch)
	s.batch.Reset()
	s.bytes = 0
	return err
}

func (s *salvage) add(n int64) {
	s.done += n
	s.Progress(s.done, s.total)
}

// verify opens the new store and compares the number of keys.
func (s *salvage) verify(target string) error {
	debug.FreeOSMemory() // what the snapshot of the closed store has left
	config := kvstore.DefaultConfig(target)
	config.ReadOnly = true
	var store *kvstore.Store
	err := lockwait.Do(s.ctx, s.Wait, func() (err error) {
		store, err = kvstore.OpenWithConfig(config)
		return err
	})
	if err != nil {
		return err
	}
	if store.Len() != s.account.Keys {
		err = fmt.Errorf("%s has %d keys, not %d as it should", target, store.Len(), s.account.Keys)
	}
	return errors.Join(err, store.Close())
}
