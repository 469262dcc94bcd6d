package inspect

import (
	"hash/maphash"
	"slices"

	"kvstore/internal/format"
)

// snapshotFound is what was found of a snapshot file.
type snapshotFound struct {
	info    *format.Snapshot // nil if nothing of it is proven
	err     error            // the first thing that Open would stumble over
	bad     []badBlock
	doubled bool // a key is there twice
	guessed bool // the blocks alone are proven, not what else info says
	covered bool // the blocks are all that there were
}

// badBlock is a block whose pairs are lost.
type badBlock struct {
	offset, bytes int64
	pairs         uint32
	reason        string
	keys          []string // that can be made out; nothing vouches for them
}

// whole reports whether all pairs are proven, whatever the file's name.
func (s *snapshotFound) whole() bool { return s.covered && len(s.bad) == 0 && !s.doubled }

// file returns what is told of the file.
func (s *snapshotFound) file(f *dataFile, needed bool) File {
	file := File{File: f.name, Bytes: f.size, Needed: needed}
	if s.info != nil {
		file.Pairs, file.LastGroup, file.To = uint64(s.info.Count), s.info.LastGroup, at(s.info.Timestamp)
	}
	return file
}

// damage returns what is wrong with it.
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

// surveySnapshot verifies all of a snapshot, and hands the pairs of its whole blocks to add. With anyhow it looks for blocks too where Open
// would find none. An error is that of add, or of reading.
func surveySnapshot(f *dataFile, anyhow bool, add func(p format.Pair) error, done func(n int64)) (snapshotFound, error) {
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

// snapshotSurvey goes through the blocks of a snapshot.
type snapshotSurvey struct {
	reader *format.SnapshotReader
	seed   maphash.Seed
	add    func(p format.Pair) error
	hashes []uint64 // of the keys in whole blocks
	found  snapshotFound
}

// block reads one block. Its pairs are handed on when all of it was verified.
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

// checkKeys wants no key to be there twice. It knows the keys by their hashes, a few bytes each; those that share one are read again.
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
