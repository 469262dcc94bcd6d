package inspect

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/testseed"
)

// This file makes directories of a few small files, and damages them in many
// ways.

var casesFlag = flag.Int("cases", 2, "of each kind of damage, in each shape of directory")

var (
	ours, others = format.StoreID{1, 2, 3}, format.StoreID{9}
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// image is a data directory in memory.
type image struct {
	files  map[string][]byte
	dirs   []string // names of directories in it
	groups []placed
}

// placed is a group and its place.
type placed struct {
	file        string
	offset, end int
	number      uint64
	ops         []op
}

// op is a change of a key. With touched, only its deadline changes.
type op struct {
	key, value       string
	deleted, touched bool
	deadline         int64
}

// dated returns a value as a state has it: with its deadline, if there is one.
// No value has an @.
func dated(value string, deadline int64) string {
	if deadline == 0 {
		return value
	}
	return fmt.Sprint(value, "@", deadline)
}

// undated returns the value and the deadline of what dated has returned.
func undated(s string) (value string, deadline int64) {
	value, digits, _ := strings.Cut(s, "@")
	deadline, _ = strconv.ParseInt(digits, 10, 64) // 0 if there is none
	return value, deadline
}

// farAway is the first of the deadlines in the images, none of which comes
// while a test runs.
const farAway int64 = 9_000_000_000_000_000_000

// imageBuilder writes an image as the store would: the COMMIT of each group
// says that the group before it is durable.
type imageBuilder struct {
	image
	random *rand.Rand
	group  uint64
	state  map[string]string
}

func (b *imageBuilder) segment(number uint64, groups int, ended bool) {
	name := format.SegmentName(number)
	s := &format.Segment{ID: ours, Number: number}
	s.Data = format.AppendHeader(nil, int64(b.group)+1,
		format.Header{Version: format.Version, ID: ours, Number: number})
	for range groups {
		b.group++
		at := len(s.Data)
		p := placed{file: name, offset: at, number: b.group, ops: b.drawOps()}
		if b.random.IntN(4) == 0 { // a commit of expirations
			p.ops = []op{{key: "k0", deleted: true}, {key: "k1", deleted: true}}
			s.Data = format.AppendEntry(s.Data, format.OpCause, int64(b.group), "", []byte{format.CauseDeadline})
		}
		for _, o := range p.ops {
			s.Data = o.append(s.Data, int64(b.group))
		}
		s.Data = format.AppendCommit(s.Data, at, int64(b.group), b.group, b.group-1, s.Seed(at))
		p.end = len(s.Data)
		b.groups = append(b.groups, p)
		p.apply(b.state)
	}
	if ended {
		s.Data = format.AppendEnd(s.Data, int64(b.group), format.End{Group: b.group, Durable: b.group},
			s.Seed(len(s.Data)))
	}
	b.files[name] = append(s.Data, make([]byte, 100)...)
}

// drawOps draws the changes of a group.
func (b *imageBuilder) drawOps() (ops []op) {
	for range 1 + b.random.IntN(3) {
		o := op{key: fmt.Sprint("k", b.random.IntN(12)), value: fmt.Sprint("v", b.group)}
		o.deleted = b.random.IntN(4) == 0
		o.touched = !o.deleted && b.random.IntN(4) == 0
		if b.random.IntN(2) == 0 {
			o.deadline = farAway + int64(b.random.IntN(1000))
		}
		ops = append(ops, o)
	}
	return ops
}

// append appends the entries of the change to dst.
func (o *op) append(dst []byte, version int64) []byte {
	deadline := format.ExpireValue(o.deadline)
	switch {
	case o.deleted:
		return format.AppendEntry(dst, format.OpDelete, version, o.key, "")
	case o.touched:
		return format.AppendEntry(dst, format.OpExpire, version, o.key, deadline[:])
	}
	dst = format.AppendEntry(dst, format.OpSet, version, o.key, o.value)
	if o.deadline != 0 {
		dst = format.AppendEntry(dst, format.OpExpire, version, o.key, deadline[:])
	}
	return dst
}

func (p *placed) apply(state map[string]string) {
	for _, o := range p.ops {
		old, isThere := state[o.key]
		switch {
		case o.deleted:
			delete(state, o.key)
		case !o.touched:
			state[o.key] = dated(o.value, o.deadline)
		case isThere:
			value, _ := undated(old)
			state[o.key] = dated(value, o.deadline)
		}
	}
}

func (b *imageBuilder) snapshot(number uint64) {
	b.files[format.SnapshotName(number)] = snapshotBytes(number, b.group, b.state)
}

// snapshotBytes returns a snapshot of blocks of two pairs, and a block of
// deadlines.
func snapshotBytes(number, group uint64, state map[string]string) []byte {
	info := &format.Snapshot{
		Timestamp: int64(group), Count: uint32(len(state)), ID: ours, Number: number, LastGroup: group,
	}
	data := format.AppendSnapshotHeader(nil, info)
	keys, deadlines, first := slices.Sorted(maps.Keys(state)), []byte(nil), uint32(0)
	for i, key := range keys {
		if _, deadline := undated(state[key]); deadline != 0 {
			if deadlines == nil {
				first = uint32(i)
			}
			deadlines = binary.BigEndian.AppendUint32(deadlines, uint32(i))
			deadlines = binary.BigEndian.AppendUint64(deadlines, uint64(deadline))
		}
	}
	for pair := range slices.Chunk(keys, 2) {
		at := len(data)
		for _, key := range pair {
			value, _ := undated(state[key])
			data = format.AppendPair(data, format.Pair{Key: []byte(key), Value: []byte(value)})
		}
		info.Blocks = append(info.Blocks, format.Block{
			Offset: uint64(at), Pairs: uint32(len(pair)), Checksum: crc32.Checksum(data[at:], castagnoli),
		})
	}
	if len(deadlines) > 0 {
		info.Deadlines = []format.DeadlineBlock{{
			Offset: uint64(len(data)), First: first, Entries: uint32(len(deadlines) / 12),
			Checksum: crc32.Checksum(deadlines, castagnoli),
		}}
	}
	return format.AppendSnapshotTail(append(data, deadlines...), info)
}

// images returns the shapes that a directory has after a crash: before the
// first snapshot, after one, and before the log that it covers was removed.
func images(random *rand.Rand) map[string]*imageBuilder {
	all := map[string]*imageBuilder{}
	begin := func(name string) *imageBuilder {
		b := &imageBuilder{random: random, state: map[string]string{}, image: image{files: map[string][]byte{}}}
		all[name] = b
		return b
	}
	b := begin("log")
	b.segment(1, 3, true)
	b.segment(2, 3, true)
	b.segment(3, 3, false)
	b = begin("snapshot")
	b.segment(1, 6, true)
	delete(b.files, format.SegmentName(1))
	b.snapshot(2)
	b.segment(2, 3, true)
	b.segment(3, 3, false)
	b = begin("leftovers")
	b.segment(1, 3, true)
	b.snapshot(2)
	b.segment(2, 3, true)
	b.snapshot(3)
	b.segment(3, 3, false)
	b = begin("closed")
	b.segment(1, 6, true)
	delete(b.files, format.SegmentName(1))
	b.snapshot(2)
	return all
}

func (i *image) clone() *image {
	c := &image{files: map[string][]byte{}, dirs: slices.Clone(i.dirs), groups: i.groups}
	for name, data := range i.files {
		c.files[name] = bytes.Clone(data)
	}
	return c
}

// write writes the image to a directory.
func (i *image) write(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range i.files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range i.dirs {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// pick returns the name of a file with this prefix, "" if there is none.
func (i *image) pick(random *rand.Rand, prefix string) string {
	var names []string
	for name := range i.files {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return names[random.IntN(len(names))]
}

// newest returns the name of the file with the highest number, "" if there is
// none.
func (i *image) newest(prefix string) string {
	names := slices.Sorted(maps.Keys(i.files))
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

// breakage is one way to break a directory. It does nothing to a directory that
// lacks what it breaks.
type breakage struct {
	name  string
	apply func(i *image, random *rand.Rand)
}

// flip returns a breakage that flips a random bit in a part of a file.
func flip(name, prefix string, part func(i *image, file string) [][2]int) breakage {
	return breakage{name, func(i *image, random *rand.Rand) {
		file := i.pick(random, prefix)
		if file == "" {
			return
		}
		parts := slices.DeleteFunc(part(i, file), func(p [2]int) bool { return p[0] == p[1] })
		if len(parts) > 0 {
			p := parts[random.IntN(len(parts))]
			i.files[file][p[0]+random.IntN(p[1]-p[0])] ^= 1 << random.IntN(8)
		}
	}}
}

// change returns a breakage that replaces a file's bytes.
func change(name, prefix string, f func(b []byte, random *rand.Rand) []byte) breakage {
	return breakage{name, func(i *image, random *rand.Rand) {
		if file := i.pick(random, prefix); file != "" {
			i.files[file] = f(i.files[file], random)
		}
	}}
}

// move returns a breakage that changes the number in a file's name.
func move(name, prefix string, rename func(number uint64) string, keep bool) breakage {
	return breakage{name, func(i *image, random *rand.Rand) {
		file := i.pick(random, prefix)
		if file == "" {
			return
		}
		var number uint64
		_, _ = fmt.Sscanf(strings.TrimPrefix(file, prefix), "%d", &number)
		to := rename(number + 1 + uint64(random.IntN(2)))
		if _, taken := i.files[to]; taken {
			return
		}
		i.files[to] = i.files[file]
		if !keep {
			delete(i.files, file)
		}
	}}
}

// appended returns a breakage that appends a group with right checksums.
func appended(name string, entries []byte) breakage {
	return breakage{name, func(i *image, _ *rand.Rand) {
		file := i.newest("wal-")
		if file == "" || len(i.groups) == 0 || i.groups[len(i.groups)-1].file != file {
			return
		}
		last := i.groups[len(i.groups)-1]
		s := &format.Segment{ID: ours, Number: numberOf(file), Data: bytes.Clone(i.files[file][:last.end])}
		s.Data = format.AppendCommit(append(s.Data, entries...), last.end, 99, last.number+1, last.number,
			s.Seed(last.end))
		i.files[file] = s.Data
	}}
}

func numberOf(segment string) (number uint64) {
	_, _ = fmt.Sscanf(segment, "wal-%d", &number)
	return number
}

func header(_ *image, _ string) [][2]int { return [][2]int{{0, format.SegmentEntryBytes}} }

// bodies and commits are the parts of the groups in a file.
func bodies(i *image, file string) (parts [][2]int) {
	for _, g := range i.groups {
		if g.file == file {
			parts = append(parts, [2]int{g.offset, g.end - format.CommitEntryBytes})
		}
	}
	return parts
}

func commits(i *image, file string) (parts [][2]int) {
	for _, g := range i.groups {
		if g.file == file {
			parts = append(parts, [2]int{g.end - format.CommitEntryBytes, g.end})
		}
	}
	return parts
}

// behind is what follows the last group: END, if there is one, and zeros.
func behind(i *image, file string) [][2]int {
	at := commits(i, file)
	return [][2]int{{at[len(at)-1][1], at[len(at)-1][1] + format.EndEntryBytes}}
}

func snapshotPart(from, to func(size, trailer int) int) func(i *image, file string) [][2]int {
	return func(i *image, file string) [][2]int {
		b := i.files[file]
		trailer := len(b) - 16 - int(binary.BigEndian.Uint64(b[len(b)-12:]))
		return [][2]int{{from(len(b), trailer), to(len(b), trailer)}}
	}
}

// deadlines are the deadline blocks of a snapshot.
func deadlines(i *image, file string) [][2]int {
	b := i.files[file]
	r, err := format.ReadSnapshot(bytes.NewReader(b), int64(len(b)), "")
	if err != nil {
		return nil
	}
	return [][2]int{{int(r.PairsEnd), int(r.TrailerAt)}}
}

func wholeFile(i *image, file string) [][2]int { return [][2]int{{0, len(i.files[file])}} }

// resealed makes the checksum of a snapshot's tail right again.
func resealed(b []byte, change func(b []byte)) []byte {
	b = bytes.Clone(b)
	change(b)
	trailer := len(b) - 16 - int(binary.BigEndian.Uint64(b[len(b)-12:]))
	return format.Seal(b, trailer, 0)
}

func breakages() []breakage {
	none := func(*image, *rand.Rand) {}
	zero := func(int, int) int { return 0 }
	headerEnd := func(int, int) int { return 16 }
	trailerStart := func(_, trailer int) int { return trailer }
	footerStart := func(size, _ int) int { return size - 16 }
	fileEnd := func(size, _ int) int { return size }
	return []breakage{
		{"none", none},
		flip("a bit of SEGMENT", "wal-", header),
		flip("a bit of an entry", "wal-", bodies),
		flip("a bit of COMMIT", "wal-", commits),
		flip("a bit of END", "wal-", behind),
		flip("a bit of a snapshot's header", "snapshot-", snapshotPart(zero, headerEnd)),
		flip("a bit of a block", "snapshot-", snapshotPart(headerEnd, trailerStart)),
		flip("a bit of a deadline", "snapshot-", deadlines),
		flip("a bit of the trailer", "snapshot-", snapshotPart(trailerStart, footerStart)),
		flip("a bit of the footer", "snapshot-", snapshotPart(footerStart, fileEnd)),
		flip("a bit somewhere", "", wholeFile),
		change("a file cut short", "", func(b []byte, random *rand.Rand) []byte { return b[:random.IntN(len(b)+1)] }),
		change("a segment cut short", "wal-",
			func(b []byte, random *rand.Rand) []byte { return b[:random.IntN(len(b)+1)] }),
		change("zeros from somewhere on", "", func(b []byte, random *rand.Rand) []byte {
			clear(b[random.IntN(len(b)):])
			return b
		}),
		change("a run of zeros", "", func(b []byte, random *rand.Rand) []byte {
			at := random.IntN(len(b))
			clear(b[at:min(len(b), at+1+random.IntN(64))])
			return b
		}),
		change("a run of garbage", "", func(b []byte, random *rand.Rand) []byte {
			at := random.IntN(len(b))
			for j := at; j < min(len(b), at+1+random.IntN(64)); j++ {
				b[j] = byte(random.Uint32())
			}
			return b
		}),
		change("an empty file", "", func([]byte, *rand.Rand) []byte { return nil }),
		change("bytes left out", "", func(b []byte, random *rand.Rand) []byte {
			at := random.IntN(len(b))
			return slices.Delete(b, at, min(len(b), at+1+random.IntN(8)))
		}),
		change("bytes put in", "", func(b []byte, random *rand.Rand) []byte {
			return slices.Insert(b, random.IntN(len(b)), 'K', 'V')
		}),
		change("garbage behind all", "", func(b []byte, _ *rand.Rand) []byte { return append(b, "garbage"...) }),
		change("zeros behind all", "", func(b []byte, _ *rand.Rand) []byte { return append(b, make([]byte, 50)...) }),
		change("a foreign segment", "wal-", func(b []byte, _ *rand.Rand) []byte {
			h, _ := format.DecodeHeader(b)
			h.ID = others
			return append(format.AppendHeader(nil, 1, h), make([]byte, 64)...)
		}),
		change("a segment of a later version", "wal-", func(b []byte, _ *rand.Rand) []byte {
			h, _ := format.DecodeHeader(b)
			h.Version++
			return append(format.AppendHeader(nil, 1, h), b[format.SegmentEntryBytes:]...)
		}),
		change("a snapshot of a later version", "snapshot-", func(b []byte, _ *rand.Rand) []byte {
			return resealed(b, func(b []byte) { b[len(b)-13] = 3 })
		}),
		change("a foreign snapshot", "snapshot-", func(b []byte, _ *rand.Rand) []byte {
			return resealed(b, func(b []byte) { b[len(b)-16-int(binary.BigEndian.Uint64(b[len(b)-12:]))+4]++ })
		}),
		change("a key twice", "snapshot-", func(b []byte, _ *rand.Rand) []byte { return twice(b) }),
		{"a segment gone", func(i *image, random *rand.Rand) { delete(i.files, i.pick(random, "wal-")) }},
		{"the newest segment gone", func(i *image, _ *rand.Rand) { delete(i.files, i.newest("wal-")) }},
		{"the newest snapshot gone", func(i *image, _ *rand.Rand) { delete(i.files, i.newest("snapshot-")) }},
		{"a directory in place of a file", func(i *image, random *rand.Rand) {
			name := i.pick(random, "")
			delete(i.files, name)
			i.dirs = append(i.dirs, name)
		}},
		{"foreign files", func(i *image, _ *rand.Rand) {
			i.files["wal-1.log"], i.files["notes"], i.files[format.SegmentName(9)+".tmp"] = []byte("x"), nil,
				[]byte("y")
		}},
		{"a number that no store gives", func(i *image, _ *rand.Rand) { i.files[format.SegmentName(1<<62+1)] = nil }},
		move("a segment under another name", "wal-", format.SegmentName, false),
		move("a segment under two names", "wal-", format.SegmentName, true),
		move("a snapshot under another name", "snapshot-", format.SnapshotName, false),
		move("a snapshot under two names", "snapshot-", format.SnapshotName, true),
		appended("an unknown op", format.AppendEntry(nil, 0x42, 99, "k0", "x")),
		appended("an EXPIRE without a deadline", format.AppendEntry(nil, format.OpExpire, 99, "k0", "x")),
		appended("a CAUSE without a DELETE", format.AppendEntry(nil, format.OpCause, 99, "", "\x01")),
		appended("an unknown cause", format.AppendEntry(nil, format.OpCause, 99, "", "\x02")),
		appended("a DELETE with a value", format.AppendEntry(nil, format.OpDelete, 99, "k0", "x")),
		appended("a key too long", format.AppendEntry(nil, format.OpSet, 99, make([]byte, format.MaxKeyBytes+1), "")),
		newest("the newest segment zeroed", func(b []byte, _ *rand.Rand) []byte { return make([]byte, len(b)) }),
		newest("the newest segment emptied", func([]byte, *rand.Rand) []byte { return nil }),
		newest("the newest segment overwritten with random bytes", func(b []byte, random *rand.Rand) []byte {
			return scramble(b, 0, random)
		}),
		newest("random bytes up to the end of the newest segment", func(b []byte, random *rand.Rand) []byte {
			return scramble(b, random.IntN(len(b)), random)
		}),
		{"a directory in place of the newest segment", func(i *image, _ *rand.Rand) {
			if name := i.newest("wal-"); name != "" {
				delete(i.files, name)
				i.dirs = append(i.dirs, name)
			}
		}},
	}
}

// several returns a breakage that breaks two or three files, each in one of
// these ways.
func several(ways []breakage) breakage {
	return breakage{"several at once", func(i *image, random *rand.Rand) {
		whole := i.clone()
		for range 2 + random.IntN(2) {
			broken := whole.clone()
			ways[random.IntN(len(ways))].apply(broken, random)
			i.merge(whole, broken)
		}
	}}
}

// merge breaks in i what is broken of whole.
func (i *image) merge(whole, broken *image) {
	for name := range whole.files {
		if _, ok := broken.files[name]; !ok {
			delete(i.files, name)
		}
	}
	for name, data := range broken.files {
		if old, ok := whole.files[name]; (!ok || !bytes.Equal(old, data)) && !slices.Contains(i.dirs, name) {
			i.files[name] = data
		}
	}
	for _, name := range broken.dirs {
		delete(i.files, name)
		if !slices.Contains(i.dirs, name) {
			i.dirs = append(i.dirs, name)
		}
	}
}

// newest returns a breakage that replaces the bytes of the newest segment.
func newest(name string, f func(b []byte, random *rand.Rand) []byte) breakage {
	return breakage{name, func(i *image, random *rand.Rand) {
		if file := i.newest("wal-"); file != "" {
			i.files[file] = f(i.files[file], random)
		}
	}}
}

// scramble replaces the bytes from an offset on by random ones.
func scramble(b []byte, from int, random *rand.Rand) []byte {
	for j := from; j < len(b); j++ {
		b[j] = byte(random.Uint32())
	}
	return b
}

// twice returns a snapshot whose last pair is the first one again.
func twice(b []byte) []byte {
	r, err := format.ReadSnapshot(bytes.NewReader(b), int64(len(b)), "")
	if err != nil || len(r.Info.Blocks) < 2 {
		return b
	}
	info := *r.Info
	first := b[info.Blocks[0].Offset:info.Blocks[1].Offset]
	body := slices.Concat(b[:r.PairsEnd], first, b[r.PairsEnd:r.TrailerAt])
	info.Blocks = append(slices.Clone(info.Blocks), info.Blocks[0])
	info.Blocks[len(info.Blocks)-1].Offset = uint64(r.PairsEnd)
	info.Deadlines = slices.Clone(info.Deadlines)
	for i := range info.Deadlines {
		info.Deadlines[i].Offset += uint64(len(first))
	}
	info.Count += info.Blocks[0].Pairs
	copy(body, format.AppendSnapshotHeader(nil, &info))
	return format.AppendSnapshotTail(body, &info)
}

// broken runs a test on many directories, each broken in one way.
func broken(t *testing.T, test func(t *testing.T, whole *imageBuilder, i *image)) {
	brokenBy(t, breakages(), test)
}

// brokenAtOnce is broken, but some directories are broken in several ways.
func brokenAtOnce(t *testing.T, test func(t *testing.T, whole *imageBuilder, i *image)) {
	ways := breakages()
	for range 10 {
		ways = append(ways, several(breakages()))
	}
	brokenBy(t, ways, test)
}

func brokenBy(t *testing.T, ways []breakage, test func(t *testing.T, whole *imageBuilder, i *image)) {
	seed := testseed.New(t)
	for n, b := range ways {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel() // the test mostly waits for the disk
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			for range *casesFlag {
				all := images(random)
				for _, name := range slices.Sorted(maps.Keys(all)) {
					whole := all[name]
					i := whole.clone()
					b.apply(i, random)
					test(t, whole, i)
					if t.Failed() {
						t.Fatalf("in a directory of shape %q", name)
					}
				}
			}
		})
	}
}
