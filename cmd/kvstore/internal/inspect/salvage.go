package inspect

import (
	"bytes"
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
	"kvstore/internal/codec"
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
	Keys     int      `json:"keys"`               // in the new store, also those whose deadline has passed
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
		directory: d, ctx: ctx, Options: o, began: time.Now().UnixNano(),
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
	writes  []write // that are not in the new store yet
	bytes   int     // of them
	began   int64   // when, in ns since 1970: the version of the new store's first commit
	account *Account
}

// write is a change of one key.
type write struct {
	op       format.Op // SET, DELETE, or EXPIRE alone
	key      string
	value    []byte
	deadline time.Time // zero for none
	undated  bool      // of SET: the deadline may be lost
}

// deadlineOf returns a deadline as the store takes it.
func deadlineOf(deadline int64) time.Time {
	if deadline == 0 {
		return time.Time{}
	}
	return time.Unix(0, deadline)
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
	ignore := func(format.Pair, bool) error { return ctx.Err() }
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
// that the snapshot covers, the damaged blocks lose nothing, and nothing is
// copied: the deadlines of the valid blocks may be damaged.
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
		s.account.Files = append(s.account.Files, found.file(&src.dataFile, true))
		return nil
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

// pairs copies the pairs in a snapshot's valid blocks. It is an error if fewer
// blocks are valid than before: then the disk is failing.
func (s *salvage) pairs(src *source) error {
	if !src.found.guessed {
		s.account.Last = max(s.account.Last, src.found.info.LastGroup)
	}
	s.account.Files = append(s.account.Files, src.found.file(&src.dataFile, true))
	found, err := surveySnapshot(&src.dataFile, true, func(p format.Pair, dated bool) error {
		s.account.Pairs++
		return s.write(write{format.OpSet, string(p.Key), p.Value, deadlineOf(p.Deadline), !dated})
	}, s.add)
	if err == nil && (found.info == nil || found.lost() > src.found.lost()) {
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
	for op := range codec.Ops(g.Body()) {
		w := write{op: format.OpSet, key: string(op.Key), value: op.Value, deadline: deadlineOf(op.Deadline)}
		switch {
		case op.Delete:
			w.op = format.OpDelete
		case op.Touch:
			w.op = format.OpExpire
		}
		if err := s.write(w); err != nil {
			return err
		}
	}
	return nil
}

const (
	batchBytes = 1 << 20 // of writes that are committed together
	largeBytes = 4 << 20 // size of a value that is set by itself, so that no batch has one more copy
)

// write takes in a write. It copies the value, or commits it at once.
func (s *salvage) write(w write) error {
	if len(w.value) > largeBytes {
		return s.setLarge(w)
	}
	w.value = bytes.Clone(w.value)
	s.writes = append(s.writes, w)
	if s.bytes += len(w.key) + len(w.value) + format.EntryOverhead; s.bytes < batchBytes {
		return nil
	}
	return s.flush()
}

// setLarge sets a large value behind the writes before it.
func (s *salvage) setLarge(w write) error {
	if err := s.flush(); err != nil {
		return err
	}
	debug.FreeOSMemory() // so that the value's copies do not come on top of garbage
	err := s.store.SetUntil(w.key, w.value, w.deadline)
	debug.FreeOSMemory() // the store's copy of it
	return err
}

// flush commits the writes so far.
func (s *salvage) flush() error {
	err := s.store.Do(s.ctx, func(tx *kvstore.Tx) error {
		if s.store.Stats().Version < s.began {
			tx.SetVersion(s.began) // the new store's clock shows no time that makes sense
		}
		for i := range s.writes {
			s.writes[i].apply(tx)
		}
		return nil
	})
	clear(s.writes)
	s.writes, s.bytes = s.writes[:0], 0
	return err
}

// isIn reports whether the key has the value already.
func (w *write) isIn(tx *kvstore.Tx) bool {
	old, ok := tx.Get(w.key)
	return ok && bytes.Equal(old, w.value)
}

// apply makes the write in a transaction.
func (w *write) apply(tx *kvstore.Tx) {
	switch w.op {
	case format.OpSet:
		if w.undated && w.isIn(tx) {
			return // the deadline that the key has may be the lost one
		}
		tx.SetUntil(w.key, w.value, w.deadline)
	case format.OpDelete:
		tx.Delete(w.key)
	case format.OpExpire:
		tx.Expire(w.key, w.deadline)
	case format.OpCause, format.OpSegment, format.OpCommit, format.OpEnd: // no writes
	}
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
	config.Now = timeless
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
