package codec_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kvstore/internal/codec"
	"kvstore/internal/format"
)

// Entries with timestamp 0, written out by hand.
const (
	setHex    = "4b564c47 01 0000000000000000 00000001 6b 00000001 76"
	deleteHex = "4b564c47 02 0000000000000000 00000001 6b 00000000"
	expireHex = "4b564c47 03 0000000000000000 00000001 6b 00000008 1886725229 94ca00"
	neverHex  = "4b564c47 03 0000000000000000 00000001 6b 00000008 0000000000000000"
	pastHex   = "4b564c47 03 0000000000000000 00000001 6b 00000008 fffffffffffffffe"
	causeHex  = "4b564c47 04 0000000000000000 00000000 00000001 01"

	deadline = 1767225601_000000000
)

// bytesOf returns the bytes of entries in hex, stamped with a timestamp.
func bytesOf(t *testing.T, timestamp int64, entries ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(entries, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	format.SetTimestamps(b, timestamp)
	return b
}

func TestEntriesOfWrites(t *testing.T) {
	for _, row := range []struct {
		name string
		got  []byte
		want string
	}{
		{"SET", codec.AppendSet(nil, "k", []byte("v")), setHex},
		{"DELETE", codec.AppendDelete(nil, "k"), deleteHex},
		{"EXPIRE", codec.AppendExpire(nil, "k", deadline), expireHex},
		{"EXPIRE that removes the deadline", codec.AppendExpire(nil, "k", 0), neverHex},
		{"EXPIRE before 1970", codec.AppendExpire(nil, "k", -2), pastHex},
		{"CAUSE", codec.AppendCause(nil), causeHex},
	} {
		want := bytesOf(t, 0, row.want)
		if !bytes.Equal(row.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", row.name, row.got, want)
		}
	}
}

// A SET and its EXPIRE are one operation; no other two entries are.
func TestOps(t *testing.T) {
	const otherSetHex = "4b564c47 01 0000000000000000 00000001 6c 00000001 76"
	type part struct {
		version int64
		entries []string
	}
	for _, row := range []struct {
		name  string
		parts []part
		want  []string
	}{
		{"nothing", nil, nil},
		{"SET", []part{{1, []string{setHex}}}, []string{"1: k=v"}},
		{"DELETE", []part{{1, []string{deleteHex}}}, []string{"1: no k"}},
		{"SET and its EXPIRE", []part{{1, []string{setHex, expireHex}}}, []string{"1: k=v until 1767225601000000000"}},
		{
			"the same, not stamped",
			[]part{{0, []string{setHex, expireHex}}},
			[]string{"0: k=v until 1767225601000000000"},
		},
		{"SET and an EXPIRE that says never", []part{{1, []string{setHex, neverHex}}}, []string{"1: k=v"}},
		{"SET and a deadline before 1970", []part{{1, []string{setHex, pastHex}}}, []string{"1: k=v until -2"}},
		{"EXPIRE", []part{{1, []string{expireHex}}}, []string{"1: k until 1767225601000000000"}},
		{"EXPIRE that says never", []part{{1, []string{neverHex}}}, []string{"1: k until 0"}},
		{
			"SET and two EXPIREs",
			[]part{{1, []string{setHex, pastHex, expireHex}}},
			[]string{"1: k=v until -2", "1: k until 1767225601000000000"},
		},
		{
			"SET and the EXPIRE of another key",
			[]part{{1, []string{otherSetHex, expireHex}}},
			[]string{"1: l=v", "1: k until 1767225601000000000"},
		},
		{
			"SET and the EXPIRE of the next commit",
			[]part{{1, []string{setHex}}, {2, []string{expireHex}}},
			[]string{"1: k=v", "2: k until 1767225601000000000"},
		},
		{
			"DELETE and EXPIRE",
			[]part{{1, []string{deleteHex, expireHex}}},
			[]string{"1: no k", "1: k until 1767225601000000000"},
		},
		{
			"SET, DELETE and EXPIRE",
			[]part{{1, []string{setHex, deleteHex, expireHex}}},
			[]string{"1: k=v", "1: no k", "1: k until 1767225601000000000"},
		},
		{"CAUSE and a DELETE", []part{{1, []string{causeHex, deleteHex}}}, []string{"1: no k"}},
		{
			"CAUSE between commits",
			[]part{{1, []string{setHex}}, {2, []string{causeHex, deleteHex}}},
			[]string{"1: k=v", "2: no k"},
		},
		{"CAUSE alone, as a piece may begin or end", []part{{1, []string{causeHex}}}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			var entries []byte
			for _, p := range row.parts {
				entries = append(entries, bytesOf(t, p.version, p.entries...)...)
			}
			got := opsOf(entries)
			if !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
			for range codec.Ops(entries) {
				break // which the iterator must notice
			}
		})
	}
}

// opsOf returns the operations of entries as text.
func opsOf(entries []byte) (texts []string) {
	for op, version := range codec.Ops(entries) {
		text := fmt.Sprintf("%d: ", version)
		switch {
		case op.Delete:
			text += fmt.Sprintf("no %s", op.Key)
		case op.Touch:
			text += fmt.Sprintf("%s until %d", op.Key, op.Deadline)
		default:
			text += fmt.Sprintf("%s=%s", op.Key, op.Value)
			if op.Deadline != 0 {
				text += fmt.Sprintf(" until %d", op.Deadline)
			}
		}
		texts = append(texts, text)
	}
	return texts
}

// The operation of a pair has all of the pair.
func TestPairOp(t *testing.T) {
	op := codec.PairOp(format.Pair{Key: []byte("k"), Value: []byte("v"), Deadline: deadline})
	if string(op.Key) != "k" || string(op.Value) != "v" || op.Deadline != deadline || op.Delete || op.Touch {
		t.Errorf("%+v", op)
	}
}
