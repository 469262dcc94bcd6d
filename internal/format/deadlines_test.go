package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	"kvstore/internal/testseed"
)

// rawPair is a pair of a snapshot that rawSnapshot encodes.
type rawPair struct {
	key, value string
	deadline   int64
}

// rawSnapshot encodes a snapshot as docs/FORMAT.md describes it. It shares
// nothing with the encoder of the package. A block ends with the pair that
// brings it to 1 MiB, or where ends says so.
type rawSnapshot struct {
	pairs   []rawPair
	ends    []int             // the pairs behind which a block ends early
	change  func(t *rawTable) // nil, or changes what the trailer says
	entries func(b []byte)    // nil, or changes the deadline entries
	version uint32            // 0 for the right one
}

// rawTable is what the trailer says of the blocks.
type rawTable struct {
	count     uint32
	blocks    []Block
	deadlines []DeadlineBlock
	number    uint32 // of deadline blocks
}

func u32(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }
func u64(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

func (s *rawSnapshot) encode() []byte {
	table := rawTable{count: uint32(len(s.pairs))}
	body := s.body(&table)
	if s.change != nil {
		s.change(&table)
	}
	header := u32(u64([]byte("KVSP"), uint64(goldenCommitted)), table.count)
	trailer := append(u32(nil, crc32.Checksum(header, castagnoli)), goldenID[:]...)
	trailer = u32(u64(u64(trailer, goldenSnapshot), goldenGroup), uint32(len(table.blocks)))
	for _, b := range table.blocks {
		trailer = u32(u32(u64(trailer, b.Offset), b.Pairs), b.Checksum)
	}
	version := uint32(1)
	if table.number > 0 || len(table.deadlines) > 0 || s.version == 2 {
		version = 2
		trailer = u32(trailer, table.number)
	}
	if s.version > 0 {
		version = s.version
	}
	for _, b := range table.deadlines {
		trailer = u32(u32(u32(u64(trailer, b.Offset), b.First), b.Entries), b.Checksum)
	}
	tail := u64(u32(trailer, version), uint64(len(trailer)))
	tail = u32(tail, crc32.Checksum(tail, castagnoli))
	return slices.Concat(header, body, tail)
}

// body returns the pairs and the deadline blocks, and what the table says of
// them.
func (s *rawSnapshot) body(table *rawTable) (body []byte) {
	at := func(n int) uint64 { return uint64(16 + n) }
	from, pairs := 0, uint32(0)
	var entries []byte
	for i, p := range s.pairs {
		body = append(u32(body, uint32(len(p.key))), p.key...)
		body = append(u32(body, uint32(len(p.value))), p.value...)
		if p.deadline != 0 {
			entries = u64(u32(entries, uint32(i)), uint64(p.deadline))
		}
		pairs++
		if len(body)-from >= 1<<20 || slices.Contains(s.ends, i) || i == len(s.pairs)-1 {
			table.blocks = append(table.blocks, Block{at(from), pairs, crc32.Checksum(body[from:], castagnoli)})
			from, pairs = len(body), 0
		}
	}
	if s.entries != nil {
		s.entries(entries)
	}
	for block := range slices.Chunk(entries, 87_382*12) { // 87,381 entries are 4 bytes less than 1 MiB
		table.deadlines = append(table.deadlines, DeadlineBlock{
			Offset: at(len(body)), First: binary.BigEndian.Uint32(block),
			Entries: uint32(len(block) / 12), Checksum: crc32.Checksum(block, castagnoli),
		})
		body = append(body, block...)
	}
	table.number = uint32(len(table.deadlines))
	return body
}

// read reads a snapshot file and returns its pairs in their order.
func (s *rawSnapshot) read(data []byte) ([]rawPair, *Snapshot, error) {
	r, err := ReadSnapshot(bytes.NewReader(data), int64(len(data)), SnapshotName(goldenSnapshot))
	if err != nil {
		return nil, nil, err
	}
	var pairs []rawPair
	for i := range r.Info.Blocks {
		_, blockErr := r.ReadBlock(i, nil, func(p Pair) {
			pairs = append(pairs, rawPair{string(p.Key), string(p.Value), p.Deadline})
		})
		err = errors.Join(err, blockErr)
	}
	return pairs, r.Info, err
}

// volatile returns n pairs. Each has a deadline with probability 1 in every.
func volatile(random *rand.Rand, n, every, valueBytes int) (pairs []rawPair) {
	for i := range n {
		p := rawPair{key: fmt.Sprint(i), value: string(make([]byte, random.IntN(valueBytes+1)))}
		if random.IntN(every) == 0 {
			p.deadline = int64(random.Uint64() | 1)
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// A snapshot has the bytes that the page says, with and without deadlines, and
// is read as it was written.
func TestSnapshotsWithDeadlines(t *testing.T) {
	random := testseed.Rand(t)
	all := func(n int) []rawPair { return volatile(random, n, 1, 0) }
	for _, row := range []struct {
		name      string
		pairs     []rawPair
		deadlines int // blocks
	}{
		{"nothing", nil, 0},
		{"no deadline", volatile(random, 1000, math.MaxInt, 10), 0},
		{"one pair with a deadline", all(1), 1},
		{"the first of many", append(all(1), volatile(random, 1000, math.MaxInt, 10)...), 1},
		{"the last of many", append(volatile(random, 1000, math.MaxInt, 10), rawPair{"last", "", math.MinInt64}), 1},
		{"as many as a block has", all(87_382), 1},
		{"one more", all(87_383), 2},
		{"one less", all(87_381), 1},
		{"small pairs, three blocks each", all(2*87_382 + 1), 3},
		{"large pairs", volatile(random, 8, 1, 1<<20), 1},
		{"few deadlines among many pairs", volatile(random, 100_000, 1000, 40), 1},
		{"every other pair", volatile(random, 180_000, 2, 4), 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			raw := rawSnapshot{pairs: row.pairs}
			want := raw.encode()
			info := goldenInfo()
			info.Count = uint32(len(row.pairs))
			var b bytes.Buffer
			n, err := EncodeSnapshot(&b, info, func(yield func(Pair) bool) {
				for _, p := range row.pairs {
					if !yield(Pair{Key: []byte(p.key), Value: []byte(p.value), Deadline: p.deadline}) {
						return
					}
				}
			})
			if err != nil || n != int64(b.Len()) || !bytes.Equal(b.Bytes(), want) {
				t.Fatalf("%d bytes of %d, want %d, %v", n, b.Len(), len(want), err)
			}
			got, read, err := raw.read(want)
			if err != nil || !slices.Equal(got, row.pairs) || !reflect.DeepEqual(read, info) {
				t.Fatalf("%d pairs, want %d, %v", len(got), len(row.pairs), err)
			}
			if len(read.Deadlines) != row.deadlines {
				t.Errorf("%d deadline blocks, want %d", len(read.Deadlines), row.deadlines)
			}
		})
	}
}

// someVolatile is a small snapshot with deadlines: of the pairs 1, 2 and 5, in
// blocks of two pairs.
func someVolatile() rawSnapshot {
	return rawSnapshot{
		pairs: []rawPair{
			{"a", "0", 0}, {"b", "1", goldenCommitted}, {"c", "2", -1}, {"d", "", 0}, {"e", "4", 0}, {"f", "5", 1},
		},
		ends: []int{1, 3},
	}
}

// P8: whatever of a snapshot is cut off or flipped, it is refused.
func TestP8DamagedDeadlinesAreRefused(t *testing.T) {
	raw := someVolatile()
	whole := raw.encode()
	if got, _, err := raw.read(whole); err != nil || !slices.Equal(got, raw.pairs) {
		t.Fatalf("%v, %v", got, err)
	}
	for cut := range whole {
		if _, _, err := raw.read(whole[:cut]); verdictOn(err) != damaged {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
	for bit := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if _, _, err := raw.read(b); verdictOn(err) != damaged {
			t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
}

// Every checksum in the rows is right, except in rows about checksums. Refusing
// a file never costs much memory (P8, P11).
func TestDeadlineDefectsAreRefused(t *testing.T) {
	const none = -1
	first := func(table *rawTable) *DeadlineBlock { return &table.deadlines[0] }
	entry := func(ordinal uint32, deadline int64) []byte { return u64(u32(nil, ordinal), uint64(deadline)) }
	// split makes the last entry a block of its own.
	split := func(change func(a, b *DeadlineBlock)) func(*rawTable) {
		return func(table *rawTable) {
			raw := someVolatile()
			var entries []byte
			raw.entries = func(b []byte) { entries = b }
			raw.encode()
			a := first(table)
			table.deadlines = []DeadlineBlock{
				{a.Offset, 1, 2, crc32.Checksum(entries[:24], castagnoli)},
				{a.Offset + 24, 5, 1, crc32.Checksum(entries[24:], castagnoli)},
			}
			table.number = 2
			change(&table.deadlines[0], &table.deadlines[1])
		}
	}
	pairsEnd := func() uint64 { var t rawTable; raw := someVolatile(); raw.body(&t); return first(&t).Offset }()
	for _, row := range []struct {
		name    string
		change  func(table *rawTable)
		entries func(b []byte)
		version uint32
		want    verdict
		offset  int64 // of the damage; none if it does not matter
	}{
		{"none", nil, nil, 0, intact, none},
		{"two blocks", split(func(_, _ *DeadlineBlock) {}), nil, 0, intact, none},
		{"version 1 with deadlines", nil, nil, 1, damaged, 0},
		{"version 3", nil, nil, 3, later, none},
		{"no deadline block, announced", func(table *rawTable) { table.deadlines = nil }, nil, 0, damaged, 0},
		{"no deadline block, and version 2", func(table *rawTable) {
			table.deadlines, table.number = nil, 0
		}, nil, 2, damaged, 0},
		{"a block too many in their number", func(table *rawTable) { table.number++ }, nil, 0, damaged, 0},
		{"a block too few in their number", func(table *rawTable) { table.number = 0 }, nil, 0, damaged, 0},
		{"2³² − 1 blocks", func(table *rawTable) { table.number = math.MaxUint32 }, nil, 0, damaged, 0},
		{"the block begins earlier", func(table *rawTable) { first(table).Offset -= 12 }, nil, 0, damaged, 0},
		{"the block begins later", func(table *rawTable) { first(table).Offset += 12 }, nil, 0, damaged, 0},
		{"the block begins in the header", func(table *rawTable) { first(table).Offset = 1 }, nil, 0, damaged, 0},
		{"the highest offset", func(table *rawTable) { first(table).Offset = math.MaxUint64 }, nil, 0, damaged, 0},
		{"an entry more", func(table *rawTable) { first(table).Entries++ }, nil, 0, damaged, 0},
		{"an entry less", func(table *rawTable) { first(table).Entries-- }, nil, 0, damaged, 0},
		{"no entry", func(table *rawTable) { first(table).Entries = 0 }, nil, 0, damaged, 0},
		{"2³² − 1 entries", func(table *rawTable) { first(table).Entries = math.MaxUint32 }, nil, 0, damaged, 0},
		{"an ordinal too high for the pairs", func(table *rawTable) { first(table).First = 4 }, nil, 0, damaged, 0},
		{"no pairs at all", func(table *rawTable) {
			table.count, table.blocks = 0, nil
			first(table).Offset = 16
		}, nil, 0, damaged, 0},
		{"another first ordinal", func(table *rawTable) { first(table).First = 0 }, nil, 0, damaged, int64(pairsEnd)},
		{"a wrong checksum", func(table *rawTable) { first(table).Checksum++ }, nil, 0, damaged, int64(pairsEnd)},
		{"blocks that overlap", split(func(_, b *DeadlineBlock) { b.Offset -= 12 }), nil, 0, damaged, 0},
		{"blocks with a gap", split(func(_, b *DeadlineBlock) { b.Offset += 12 }), nil, 0, damaged, 0},
		{"blocks whose ordinals fall", split(func(_, b *DeadlineBlock) { b.First = 0 }), nil, 0, damaged, 0},
		{"blocks whose ordinals overlap", split(func(_, b *DeadlineBlock) { b.First = 2 }), nil, 0, damaged, 0},
		{
			"an ordinal of the next block",
			split(func(a, b *DeadlineBlock) { b.First = 3 }),
			nil, 0, damaged, int64(pairsEnd) + 24,
		},
		{
			"an ordinal of the next block in the first one",
			split(func(a, _ *DeadlineBlock) {
				a.Checksum = crc32.Checksum(slices.Concat(entry(1, goldenCommitted), entry(5, -1)), castagnoli)
			}),
			func(b []byte) { copy(b[12:], entry(5, -1)) },
			0, damaged, int64(pairsEnd) + 12,
		},
		{"ordinals that fall", nil, func(b []byte) { b[15] = 0 }, 0, damaged, int64(pairsEnd) + 12},
		{"an ordinal twice", nil, func(b []byte) { b[15] = 1 }, 0, damaged, int64(pairsEnd) + 12},
		{"an ordinal beyond the pairs", nil, func(b []byte) { b[27] = 6 }, 0, damaged, int64(pairsEnd) + 24},
		{"highest ordinal", nil, func(b []byte) { copy(b[24:], "\xff\xff\xff\xff") }, 0, damaged, int64(pairsEnd) + 24},
		{"deadline 0", nil, func(b []byte) { clear(b[16:24]) }, 0, damaged, int64(pairsEnd) + 12},
	} {
		t.Run(row.name, func(t *testing.T) {
			raw := someVolatile()
			raw.change, raw.entries, raw.version = row.change, row.entries, row.version
			b := raw.encode()
			var err error
			took := allocated(func() { _, _, err = raw.read(b) })
			if got := verdictOn(err); got != row.want {
				t.Fatalf("%s, %v; want %s", got, err, row.want)
			}
			if d, ok := errors.AsType[*Damage](err); ok && row.offset != none && d.Offset != row.offset {
				t.Errorf("%v, want offset %d", err, row.offset)
			}
			if took > 1<<20 {
				t.Fatalf("allocated %d bytes for a file of %d", took, len(b))
			}
		})
	}
}

// Version 2 says that there are deadlines.
func TestVersionTwoWithoutDeadlinesIsRefused(t *testing.T) {
	for _, pairs := range [][]rawPair{nil, {{"a", "0", 0}}} {
		raw := rawSnapshot{pairs: pairs}
		if _, _, err := raw.read(raw.encode()); err != nil {
			t.Fatal(err)
		}
		raw.version = 2
		if _, _, err := raw.read(raw.encode()); verdictOn(err) != damaged {
			t.Errorf("%d pairs: %v", len(pairs), err)
		}
	}
}

// countingFile counts how often each byte is read.
type countingFile struct {
	io.ReaderAt
	mu    sync.Mutex
	times []byte // guarded by mu
}

func (f *countingFile) ReadAt(b []byte, off int64) (int, error) {
	f.mu.Lock()
	for i := range b {
		f.times[off+int64(i)]++
	}
	f.mu.Unlock()
	return f.ReaderAt.ReadAt(b, off)
}

// However many goroutines read blocks, each byte is read once, deadlines
// included, and no deadline block stays in memory.
func TestDeadlineBlocksAreReadOnce(t *testing.T) {
	random := testseed.Rand(t)
	raw := rawSnapshot{pairs: volatile(random, 300_000, 1+random.IntN(3), random.IntN(30))}
	data := raw.encode()
	file := &countingFile{ReaderAt: bytes.NewReader(data), times: make([]byte, len(data))}
	r, err := ReadSnapshot(file, int64(len(data)), "")
	if err != nil || len(r.Info.Deadlines) < 2 || len(r.Info.Blocks) < 2 {
		t.Fatalf("%d deadline blocks, %v", len(r.Info.Deadlines), err)
	}
	clear(file.times)
	found := make([][]rawPair, len(r.Info.Blocks))
	for range 2 { // the second time as the first
		var readers sync.WaitGroup
		blocks := make(chan int)
		for range 4 {
			readers.Go(func() {
				for i := range blocks {
					found[i] = nil
					_, err := r.ReadBlock(i, nil, func(p Pair) {
						found[i] = append(found[i], rawPair{string(p.Key), string(p.Value), p.Deadline})
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range r.Info.Blocks {
			blocks <- i
		}
		close(blocks)
		readers.Wait()
		if !slices.Equal(slices.Concat(found...), raw.pairs) {
			t.Fatal("other pairs, or other deadlines")
		}
		for at, times := range file.times[16:r.TrailerAt] {
			if times != 1 {
				t.Fatalf("byte %d was read %d times", at, times)
			}
		}
		clear(file.times)
		for i := range r.deadlines.blocks {
			if r.deadlines.blocks[i].entries != nil {
				t.Errorf("deadline block %d is still in memory", i)
			}
		}
	}
}

// A tool reads the pairs of intact blocks, whatever has happened to deadlines.
// Deadlines that are damaged are not there, and the others are right.
func TestPairsWithoutTheirDeadlines(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	raw := rawSnapshot{pairs: volatile(random, 200_000, 1, 4)}
	data := raw.encode()
	r, err := ReadSnapshot(bytes.NewReader(data), int64(len(data)), "")
	if err != nil || len(r.Info.Deadlines) != 3 {
		t.Fatal(err)
	}
	bad := r.Info.Deadlines[1]
	data[bad.Offset+100]++
	for i := range r.Info.Deadlines {
		if err := r.CheckDeadlines(i); (err != nil) != (i == 1) {
			t.Errorf("deadline block %d: %v", i, err)
		}
	}
	var got []rawPair
	refused := 0
	for i := range r.Info.Blocks {
		before := refused
		if _, err := r.ReadBlock(i, nil, func(Pair) {}); err != nil {
			if d, ok := errors.AsType[*Damage](err); !ok || d.Offset != int64(bad.Offset) {
				t.Error(err)
			}
			refused++
		}
		_, deadlineErr, err := r.ReadPairs(i, nil, func(p Pair) {
			got = append(got, rawPair{string(p.Key), string(p.Value), p.Deadline})
		})
		if err != nil || (deadlineErr != nil) != (refused > before) {
			t.Error(err, deadlineErr)
		}
	}
	want := slices.Clone(raw.pairs)
	for i := range bad.Entries {
		want[bad.First+i].deadline = 0
	}
	if !slices.Equal(got, want) || refused == 0 || refused == len(r.Info.Blocks) {
		t.Errorf("%d blocks refused; other pairs, or other deadlines", refused)
	}
}

// If one byte of a snapshot with deadlines is damaged, no more pairs are lost
// than without deadlines, and no pair ever gets another deadline than its own.
func TestGuessDeadlines(t *testing.T) {
	raw := someVolatile()
	data := raw.encode()
	want := map[string]rawPair{}
	for _, p := range raw.pairs {
		want[p.key] = p
	}
	r, err := ReadSnapshot(bytes.NewReader(data), int64(len(data)), "")
	if err != nil {
		t.Fatal(err)
	}
	tableAt := int(r.TrailerAt) + trailerBytes
	check := func(b []byte, what string, lost int, undated bool) {
		t.Helper()
		got, dated := guessPairs(t, b)
		pairs := 0
		for key, p := range got {
			if dated && p != want[key] || p.value != want[key].value || p.deadline != 0 && p != want[key] {
				t.Errorf("%s: %+v, want %+v", what, p, want[key])
			}
			pairs++
		}
		if pairs < len(want)-2*lost || !undated && !dated {
			t.Errorf("%s: %d pairs of %d, deadlines %v", what, pairs, len(want), dated)
		}
	}
	check(data, "whole", 0, false)
	for at := range data {
		for _, flip := range []byte{1, 0x80, 0xff} {
			b := bytes.Clone(data)
			b[at] ^= flip
			lost, undated := 0, true
			switch at := at; {
			case at < SnapshotHeaderBytes:
				undated = false
			case at < int(r.PairsEnd):
				lost, undated = 1, false
			case at < int(r.TrailerAt):
			case at >= tableAt-4 && at < tableAt:
				lost = 3
			case at < tableAt:
				undated = false
			case at < tableAt+3*blockBytes:
				lost = 2
			case at >= len(data)-footerBytes:
				undated = false
			default: // what the trailer says of the deadline block
				lost = 1
			}
			check(b, fmt.Sprintf("byte %d ^ %02x", at, flip), lost, undated)
		}
	}
	for cut := int(r.TrailerAt); cut < len(data); cut++ {
		lost := 0
		if whole := (cut - tableAt) / blockBytes; whole < 3 {
			lost = 3 - max(0, whole-1) // where the last one ends is not known
		}
		check(data[:cut], fmt.Sprintf("cut to %d bytes", cut), lost, true)
	}
	check(append(bytes.Clone(data), make([]byte, 100)...), "with zeros behind it", 0, false)
}

// guessPairs returns the pairs that can be salvaged. dated says that all their
// deadlines are there.
func guessPairs(t *testing.T, data []byte) (pairs map[string]rawPair, dated bool) {
	t.Helper()
	r, ok, err := GuessSnapshot(bytes.NewReader(data), int64(len(data)), "")
	if err != nil {
		t.Fatal(err)
	}
	pairs = map[string]rawPair{}
	if !ok {
		return pairs, false
	}
	dated = r.HasDeadlines()
	for i := range r.Info.Deadlines {
		dated = dated && r.CheckDeadlines(i) == nil
	}
	for i := range r.Info.Blocks {
		block := map[string]rawPair{}
		_, _, err := r.ReadPairs(i, nil, func(p Pair) {
			block[string(p.Key)] = rawPair{string(p.Key), string(p.Value), p.Deadline}
		})
		if err == nil {
			maps.Copy(pairs, block)
		}
	}
	return pairs, dated
}
