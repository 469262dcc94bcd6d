package kvstore_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"kvstore"
)

// A store without files does what another one does, and makes none.
func TestInMemory(t *testing.T) {
	t.Chdir(t.TempDir())
	for range 2 { // nothing is left of the first one
		s, err := kvstore.OpenWithConfig(kvstore.Config{InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{TB: t}
		var want []string
		for i := range 3000 {
			want = append(want, fmt.Sprintf("key %04d", i), fmt.Sprint("value ", i, string(make([]byte, 1000))))
		}
		r.set(s, want...)
		r.ok(s.Do(ctx, addOne("n")))
		r.ok(s.Update(ctx, addOne("n")))
		r.ok(s.Apply(ctx, batch("batch", "")))
		r.ok(s.Sync())
		r.ok(s.Snapshot(ctx))
		want = append(want, "n", "2", "batch", "")
		r.want(s, want...)
		stats := s.Stats()
		if stats.Keys != 3002 || stats.Commits != 3003 || stats.MemoryUsed == 0 {
			t.Errorf("%+v", stats)
		}
		if stats.WALBytes != 0 || stats.Syncs != 0 || stats.DiskBytes != 0 || stats.Snapshots != 0 {
			t.Errorf("%+v", stats)
		}
		v, err := s.View()
		r.ok(err)
		var file bytes.Buffer
		_, err = v.WriteTo(&file)
		r.ok(err)
		r.ok(v.Close())
		r.ok(s.Close())
		r.fails(s.Set("a", nil), kvstore.ErrClosed)
		r.fails(s.Sync(), kvstore.ErrClosed)
		r.fails(s.Snapshot(ctx), kvstore.ErrClosed)

		restored := newRig(t)
		r.ok(kvstore.RestoreFS(restored.fs, restored.config.DataDir, &file))
		restored.want(restored.open(), want...)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
		t.Errorf("files %v, error %v", files, err)
	}
}

func TestInMemoryIsRefused(t *testing.T) {
	for _, config := range []kvstore.Config{
		{InMemory: true, DataDir: "x"},
		{InMemory: true, ReadOnly: true},
		{InMemory: true, MustExist: true},
		{InMemory: true, LockTimeout: -1},
		{},
	} {
		s, err := kvstore.OpenWithConfig(config)
		if s != nil {
			t.Errorf("%+v: opened", config)
		}
		(&rig{TB: t}).fails(err, kvstore.ErrInvalidConfig)
	}
}
