package logread

import (
	"errors"
	"testing"

	"kvstore/internal/format"
	"kvstore/internal/vfs"
)

// judge reads segment 1 and judges it.
func (l *memLog) judge(isLast bool) (format.Chain, format.Tail, error) {
	l.t.Helper()
	file, err := l.Open(1)
	if err != nil {
		l.t.Fatal(err)
	}
	data, err := ReadAll(file, 1, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	var chain format.Chain
	tail, err := Judge(file, 1, data, &chain, isLast)
	if err := file.Close(); err != nil {
		l.t.Fatal(err)
	}
	return chain, tail, err
}

// Judge agrees with recovery on a segment at rest. It reads a bad segment
// twice, and a whole one once.
func TestJudgeAtRest(t *testing.T) {
	b := newSegment(1, 1, 3)
	damaged := b.with(func(data []byte) { data[b.offsets[1]+5] ^= 1 })
	tornAt := b.offsets[2]
	for _, c := range []struct {
		name    string
		data    []byte
		isLast  bool
		last    uint64
		tail    format.Tail
		damaged bool
		reads   int
	}{
		{"open", b.Data, true, 3, format.Tail{Offset: len(b.Data)}, false, 1},
		{"torn", b.Data[:tornAt+30], true, 2, format.Tail{Offset: tornAt, Torn: 30}, false, 2},
		{"damaged", damaged, true, 1, format.Tail{}, true, 2},
		{"without END", b.Data, false, 3, format.Tail{}, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newMemLog(t)
			l.put(1, c.data)
			chain, tail, err := l.judge(c.isLast)
			_, isDamage := errors.AsType[*format.Damage](err)
			if chain.LastGroup != c.last || tail != c.tail || isDamage != c.damaged || (err != nil) != c.damaged {
				t.Errorf("last group %d, %+v, %v", chain.LastGroup, tail, err)
			}
			if l.counts[vfs.OpRead] != c.reads {
				t.Errorf("%d reads, want %d", l.counts[vfs.OpRead], c.reads)
			}
		})
	}
}

// The tail of a live log becomes whole between two reads.
func TestJudgeTailThatBecomesWhole(t *testing.T) {
	b := newSegment(1, 1, 3).zeros()
	for i := 1; i <= 2; i++ {
		for at := b.offsets[i] + 1; at < b.endOf(i); at += 7 {
			l := newMemLog(t)
			l.put(1, b.with(func(data []byte) { clear(data[at:]) }))
			l.beforeRead(2, func() { l.write(1, b.Data, 0) })
			chain, tail, err := l.judge(true)
			if err != nil || tail.Torn > 0 || chain.LastGroup != 3 {
				t.Fatalf("written up to %d at first: last group %d, %+v, %v", at, chain.LastGroup, tail, err)
			}
		}
	}
}

// One read may see a group half-written, and whole the next one, which knows
// it durable. That is no damage.
func TestJudgeGroupsThatAppear(t *testing.T) {
	b := newSegment(1, 1, 3).zeros()
	half := b.with(func(data []byte) { clear(data[b.offsets[1] : b.endOf(1)-1]) })
	l := newMemLog(t)
	l.put(1, b.with(func(data []byte) { clear(data[b.offsets[1]+1:]) }))
	l.beforeRead(2, func() { l.write(1, half, 0) })
	l.beforeRead(3, func() { l.write(1, b.Data, 0) })
	chain, tail, err := l.judge(true)
	if err != nil || tail.Torn > 0 || chain.LastGroup != 3 {
		t.Errorf("last group %d, %+v, %v, after %d reads", chain.LastGroup, tail, err, l.counts[vfs.OpRead])
	}
}
