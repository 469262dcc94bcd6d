package inspect

import (
	"cmp"
	"hash/maphash"
	"slices"

	"kvstore/internal/format"
)

// snapshotFound is what was found in a snapshot file.
type snapshotFound struct {
	info    *format.Snapshot // nil if no checksum proves it
	err     error            // why Open would refuse the file
	bad     []badBlock
	undated []badBlock // with deadlines that are lost; their pairs are not
	doubled bool       // a key occurs twice
	guessed bool       // checksums prove the blocks, but not the rest of info
	covered bool       // no block is missing
}

// badBlock is a block whose pairs, or deadlines, are lost.
type badBlock struct {
	offset, bytes int64
	pairs         uint32
	reason        string
	keys          []string // that are still readable; no checksum proves them
}

// whole reports whether checksums prove all pairs and all deadlines. The file's
// name plays no role.
func (s *snapshotFound) whole() bool {
	return s.covered && s.lost() == 0 && !s.doubled
}

// lost returns how many blocks are lost.
func (s *snapshotFound) lost() int { return len(s.bad) + len(s.undated) }

// file describes the file for a report.
func (s *snapshotFound) file(f *dataFile, needed bool) File {
	file := File{File: f.name, Bytes: f.size, Needed: needed}
	if s.info != nil {
		file.Pairs, file.LastGroup, file.To = uint64(s.info.Count), s.info.LastGroup, at(s.info.Timestamp)
	}
	return file
}

// damage returns the defects of the file.
func (s *snapshotFound) damage(f *dataFile, needed bool) []Damage {
	var all []Damage
	for _, b := range s.bad {
		all = append(all, Damage{
			File: f.name, Offset: b.offset, Bytes: b.bytes, Reason: b.reason, Needed: needed, Loss: Certain,
			Pairs: uint64(b.pairs), Before: at(s.info.Timestamp), Keys: newKeys(b.keys),
		})
	}
	for _, b := range s.undated {
		all = append(all, Damage{
			File: f.name, Offset: b.offset, Bytes: b.bytes, Reason: b.reason, Needed: needed, Loss: Certain,
			Deadlines: uint64(b.pairs), Before: at(s.info.Timestamp),
		})
	}
	if s.err != nil && len(all) == 0 {
		d := damageOf(s.err)
		d.Needed = needed
		d.Loss = Certain
		if s.whole() {
			d.Loss = None
		}
		all = append(all, d)
	}
	return all
}

// surveySnapshot verifies all of a snapshot and calls add with the pairs of its
// valid blocks. A pair is dated unless its deadline may be lost. With anyhow,
// surveySnapshot also searches for blocks if Open would find none. It calls
// done with the number of bytes that it has read. The error is that of add.
func surveySnapshot(
	f *dataFile, anyhow bool, add func(p format.Pair, dated bool) error, done func(n int64),
) (snapshotFound, error) {
	r, found := openSnapshot(f, anyhow)
	if r == nil {
		return found, nil
	}
	s := &snapshotSurvey{file: f, reader: r, seed: maphash.MakeSeed(), add: add, found: found}
	s.hashes = make([]uint64, 0, min(int64(r.Info.Count), f.size/int64(format.Pair{}.Size()))) // Count may be wrong
	for i := range r.Info.Blocks {
		if err := s.block(i); err != nil {
			return snapshotFound{}, err
		}
		done(r.BlockEnd(i) - int64(r.Info.Blocks[i].Offset))
	}
	s.deadlines()
	done(r.TrailerAt - r.PairsEnd)
	doubled := s.checkKeys()
	s.found.doubled = doubled != nil
	if s.found.err == nil {
		s.found.err = doubled
	}
	return s.found, nil
}

// openSnapshot verifies all of a snapshot but its blocks. r is nil if there are
// no blocks to read.
func openSnapshot(f *dataFile, anyhow bool) (r *format.SnapshotReader, found snapshotFound) {
	if f.err != nil {
		return nil, snapshotFound{err: f.err}
	}
	r, err := format.ReadSnapshot(f, f.size, f.name)
	if err == nil {
		return r, snapshotFound{err: r.CheckNumber(f.number), info: r.Info, covered: true}
	}
	found.err = f.defect(err)
	if !anyhow || verdictOn(err) == Later {
		return nil, found
	}
	r, ok, err := format.GuessSnapshot(f, f.size, f.name)
	if !ok || err != nil {
		return nil, found
	}
	found.info, found.guessed = r.Info, true
	if !r.HasDeadlines() {
		found.undated = []badBlock{{
			offset: r.PairsEnd, bytes: r.TrailerAt - r.PairsEnd,
			reason: "not known whose deadlines these are: the keys do not expire",
		}}
	}
	found.covered = len(r.Info.Blocks) > 0 && r.Info.Blocks[0].Offset == format.SnapshotHeaderBytes
	return r, found
}

// snapshotSurvey verifies the blocks of a snapshot.
type snapshotSurvey struct {
	file   *dataFile
	reader *format.SnapshotReader
	seed   maphash.Seed
	add    func(p format.Pair, dated bool) error
	hashes []uint64 // of the keys in valid blocks
	found  snapshotFound
}

// block reads one block. It passes the pairs on once the whole block is
// verified. The error is that of add.
func (s *snapshotSurvey) block(i int) error {
	var pairs []format.Pair
	_, deadlineErr, err := s.reader.ReadPairs(i, nil, func(p format.Pair) { pairs = append(pairs, p) })
	if s.found.err == nil {
		s.found.err = s.file.defect(cmp.Or(err, deadlineErr))
	}
	if err != nil {
		s.bad(i, s.file.defect(err))
		return nil
	}
	for _, p := range pairs {
		s.hashes = append(s.hashes, maphash.Bytes(s.seed, p.Key))
		dated := p.Deadline != 0 || deadlineErr == nil && s.reader.HasDeadlines()
		if err := s.add(p, dated); err != nil {
			return err
		}
	}
	return nil
}

// deadlines records the deadline blocks with a defect. If there are deadlines
// that cannot be trusted, nothing is known of their blocks.
func (s *snapshotSurvey) deadlines() {
	if !s.reader.HasDeadlines() {
		return
	}
	for i, info := range s.reader.Info.Deadlines {
		defect := s.file.defect(s.reader.CheckDeadlines(i))
		if defect == nil {
			continue
		}
		d, bad := damageOf(defect), badBlock{offset: int64(info.Offset), pairs: info.Entries}
		bad.reason, bad.bytes = d.Reason, s.reader.DeadlinesEnd(i)-bad.offset
		if verdictOn(defect) == Corrupt {
			bad.bytes -= d.Offset - bad.offset
			bad.offset = d.Offset
		}
		s.found.undated = append(s.found.undated, bad)
	}
}

// bad records a block with a defect.
func (s *snapshotSurvey) bad(i int, defect error) {
	info := s.reader.Info.Blocks[i]
	d, bad := damageOf(defect), badBlock{offset: int64(info.Offset), pairs: info.Pairs}
	bad.reason, bad.bytes = d.Reason, s.reader.BlockEnd(i)-bad.offset
	if verdictOn(defect) == Corrupt && d.Offset != bad.offset { // the file has no such block
		bad.offset, bad.bytes, bad.pairs = d.Offset, 0, 0
	}
	// What cannot be read has no keys to show.
	_ = s.reader.GuessBlock(i, func(p format.Pair) { bad.keys = append(bad.keys, string(p.Key)) })
	slices.Sort(bad.keys)
	s.found.bad = append(s.found.bad, bad)
}

// checkKeys returns a defect if a key occurs twice. To save memory it keeps
// only hashes of the keys, and reads those with equal hashes again.
func (s *snapshotSurvey) checkKeys() error {
	slices.Sort(s.hashes)
	suspects := map[uint64]bool{}
	for i := 1; i < len(s.hashes); i++ {
		if s.hashes[i] == s.hashes[i-1] {
			suspects[s.hashes[i]] = true
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	seen, twice := map[string]bool{}, 0
	var room []byte
	for i := range s.reader.Info.Blocks {
		// Of a bad block, nothing was taken.
		room, _, _ = s.reader.ReadPairs(i, room, func(p format.Pair) {
			if !suspects[maphash.Bytes(s.seed, p.Key)] {
				return
			}
			if seen[string(p.Key)] {
				twice++
			}
			seen[string(p.Key)] = true
		})
	}
	if twice == 0 {
		return nil
	}
	return s.reader.CheckKeys(len(s.hashes) - twice)
}
