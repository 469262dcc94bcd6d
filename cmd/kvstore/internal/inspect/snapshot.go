package inspect

import (
	"hash/maphash"
	"slices"

	"kvstore/internal/format"
)

// snapshotFound is what was found in a snapshot file.
type snapshotFound struct {
	info    *format.Snapshot // nil if no checksum proves it
	err     error            // why Open would refuse the file
	bad     []badBlock
	doubled bool // a key occurs twice
	guessed bool // checksums prove the blocks, but not the rest of info
	covered bool // no block is missing
}

// badBlock is a block whose pairs are lost.
type badBlock struct {
	offset, bytes int64
	pairs         uint32
	reason        string
	keys          []string // that are still readable; no checksum proves them
}

// whole reports whether checksums prove all pairs. The file's name plays no
// role.
func (s *snapshotFound) whole() bool { return s.covered && len(s.bad) == 0 && !s.doubled }

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
	if d, ok := damageOf(s.err); ok && len(all) == 0 {
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
// valid blocks. With anyhow, it also searches for blocks if Open would find
// none. It calls done with the number of bytes that it has read. An error is
// that of add, or of reading.
func surveySnapshot(
	f *dataFile, anyhow bool, add func(format.Pair) error, done func(n int64),
) (snapshotFound, error) {
	r, err := format.ReadSnapshot(f, f.size, f.name)
	verdict, damaged := verdictOn(err)
	if err != nil && !damaged {
		return snapshotFound{}, err
	}
	found := snapshotFound{err: err}
	if damaged {
		if !anyhow || verdict == Later {
			return found, nil
		}
		var ok bool
		if r, ok, err = format.GuessSnapshot(f, f.size, f.name); !ok || err != nil {
			return found, err
		}
		found.guessed = true
	} else {
		found.err = r.CheckNumber(f.number)
	}
	found.info = r.Info
	found.covered = !found.guessed || len(r.Info.Blocks) > 0 && r.Info.Blocks[0].Offset == format.SnapshotHeaderBytes
	s := &snapshotSurvey{reader: r, seed: maphash.MakeSeed(), add: add, found: found}
	for i := range r.Info.Blocks {
		if err := s.block(i); err != nil {
			return snapshotFound{}, err
		}
		done(r.BlockEnd(i) - int64(r.Info.Blocks[i].Offset))
	}
	doubled, err := s.checkKeys()
	s.found.doubled = doubled != nil
	if s.found.err == nil {
		s.found.err = doubled
	}
	return s.found, err
}

// snapshotSurvey verifies the blocks of a snapshot.
type snapshotSurvey struct {
	reader *format.SnapshotReader
	seed   maphash.Seed
	add    func(p format.Pair) error
	hashes []uint64 // of the keys in valid blocks
	found  snapshotFound
}

// block reads one block. It passes the pairs on once the whole block is
// verified.
func (s *snapshotSurvey) block(i int) error {
	info := s.reader.Info.Blocks[i]
	var pairs []format.Pair
	_, err := s.reader.ReadBlock(i, nil, func(p format.Pair) { pairs = append(pairs, p) })
	if _, ok := verdictOn(err); ok {
		if s.found.err == nil {
			s.found.err = err
		}
		damage, _ := damageOf(err)
		bad := badBlock{offset: damage.Offset, reason: damage.Reason}
		if damage.Offset == int64(info.Offset) {
			bad.bytes, bad.pairs = s.reader.BlockEnd(i)-damage.Offset, info.Pairs
		}
		err = s.reader.GuessBlock(i, func(p format.Pair) { bad.keys = append(bad.keys, string(p.Key)) })
		slices.Sort(bad.keys)
		s.found.bad = append(s.found.bad, bad)
		if _, nowhere := verdictOn(err); nowhere {
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	for _, p := range pairs {
		s.hashes = append(s.hashes, maphash.Bytes(s.seed, p.Key))
		if err := s.add(p); err != nil {
			return err
		}
	}
	return nil
}

// checkKeys returns a verdict if a key occurs twice. To save memory it keeps
// only hashes of the keys, and reads those with equal hashes again.
func (s *snapshotSurvey) checkKeys() (verdict, err error) {
	slices.Sort(s.hashes)
	suspects := map[uint64]bool{}
	for i := 1; i < len(s.hashes); i++ {
		if s.hashes[i] == s.hashes[i-1] {
			suspects[s.hashes[i]] = true
		}
	}
	if len(suspects) == 0 {
		return nil, nil
	}
	seen, twice := map[string]bool{}, 0
	var room []byte
	for i := range s.reader.Info.Blocks {
		var err error
		room, err = s.reader.ReadBlock(i, room, func(p format.Pair) {
			if !suspects[maphash.Bytes(s.seed, p.Key)] {
				return
			}
			if seen[string(p.Key)] {
				twice++
			}
			seen[string(p.Key)] = true
		})
		if _, isBad := verdictOn(err); err != nil && !isBad {
			return nil, err
		}
	}
	if twice == 0 {
		return nil, nil
	}
	return s.reader.CheckKeys(len(s.hashes) - twice), nil
}
