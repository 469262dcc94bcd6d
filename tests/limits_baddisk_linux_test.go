package tests

// This file has a disk that fails: it cannot store what its file system
// believes it can.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"kvstore"
)

// extent is the place of a part of a file on its device.
type extent struct {
	Logical, Physical, Length uint64
	_                         [2]uint64
	Flags                     uint32
	_                         [3]uint32
}

// extentsOf asks the file system with FS_IOC_FIEMAP.
func extentsOf(t *testing.T, path string) []extent {
	t.Helper()
	const fsIocFiemap = 0xc020660b
	request := struct {
		start, length        uint64
		flags, mapped, count uint32
		_                    uint32
		extents              [64]extent
	}{length: 1 << 40, count: 64}
	file, err := os.Open(path)
	if err == nil {
		err = errors.Join(ioctl(file, fsIocFiemap, unsafe.Pointer(&request)), file.Close())
	}
	if err != nil {
		missingLayer(t, "extents of a file: %v", err)
	}
	return request.extents[:request.mapped]
}

// onePageAtATime makes a loop device write single pages. If its file takes a
// larger request in part, the kernel may report success (6.18 does). That would
// be a disk that lies, and no store can help.
func onePageAtATime(t *testing.T, m *mount) {
	t.Helper()
	path := filepath.Join("/sys/block", filepath.Base(m.source), "queue/max_sectors_kb")
	if err := os.WriteFile(path, []byte("4"), 0); err != nil {
		missingLayer(t, "%v", err)
	}
}

// takeAll makes a file of all free blocks of a file system, or nearly all.
func takeAll(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	size := int64(0)
	for step := int64(1 << 20); step >= 4096; step /= 2 {
		for err = nil; err == nil; {
			if err = syscall.Fallocate(int(file.Fd()), 0, size, step); err == nil {
				size += step
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	if size == 0 {
		t.Fatal("nothing was free")
	}
}

const brokenDiskBytes = 16 << 20

// brokenDisk is an ext4 file system on a disk that cannot store the last part
// of a store's segment, nor anything that needs new space. The file system
// believes it can.
type brokenDisk struct {
	*realStore
	disk   *mount
	store  *kvstore.Store
	repair func()
}

// failsSync lists the errors of an fsync on such a disk. They depend on the
// version of the kernel.
var failsSync = []error{syscall.EIO, syscall.ENOSPC}

func newBrokenDisk(t *testing.T) *brokenDisk {
	t.Helper()
	needRoot(t, "mkfs.ext4", "losetup")
	const good = 64 << 10 // bytes of the segment that the disk can take
	thin := newTmpfs(t, "size=24m")
	image := filepath.Join(thin.dir, "disk")
	m := newDisk(t, image, brokenDiskBytes, "")
	onePageAtATime(t, m)
	backing, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backing.Close() })
	fallocate := func(mode uint32, offset, length int64) {
		t.Helper()
		if err := syscall.Fallocate(int(backing.Fd()), mode, offset, length); err != nil {
			missingLayer(t, "fallocate mode %d on tmpfs: %v", mode, err)
		}
	}
	r := newRealStore(t, filepath.Join(m.dir, "store"))
	s := r.open()
	for i := range 20 {
		r.set(s, fmt.Sprint("key ", i), 100)
	}
	names := r.files()
	segment := filepath.Join(r.config.DataDir, names[len(names)-1])
	// All of the disk is there, but for the later part of the segment, the free
	// blocks, and what ext4 keeps for itself behind them.
	fallocate(0, 0, brokenDiskBytes)
	const punchHole, keepSize = 2, 1
	punch := func(file string, from uint64) (end int64) {
		t.Helper()
		for _, e := range extentsOf(t, file) {
			if at := max(e.Logical, from); at < e.Logical+e.Length {
				fallocate(punchHole|keepSize, int64(e.Physical+at-e.Logical), int64(e.Logical+e.Length-at))
			}
			end = max(end, int64(e.Physical+e.Length))
		}
		return end
	}
	free := filepath.Join(m.dir, "free")
	takeAll(t, free)
	punch(segment, good)
	end := punch(free, 0)
	if end < brokenDiskBytes {
		fallocate(punchHole|keepSize, end, brokenDiskBytes-end)
	}
	r.ok(os.Remove(free))
	repair := fillUp(t, thin.dir)
	r.set(s, "fits", 20<<10)
	return &brokenDisk{realStore: r, disk: m, store: s, repair: repair}
}

// failSync makes the store fail for good, in an fsync, and closes it.
func (b *brokenDisk) failSync() {
	b.Helper()
	err := b.trySet(b.store, "lost", lostBytes)
	b.Logf("the fsync that failed: %v", err)
	b.failed(err, failsSync...)
	for range 3 {
		b.failed(b.trySet(b.store, "later", 10), failsSync...)
		b.failed(b.store.Sync(), failsSync...)
		b.verify(b.store)
	}
	before := b.files()
	b.failed(b.store.Close(), failsSync...)
	if after := b.files(); !slices.Equal(before, after) {
		b.Errorf("Close of a failed store has left %q of %q", after, before)
	}
}

const lostBytes = 200 << 10

// openAfterFailure opens the store. The group that failed may be there, from
// the kernel's cache, or not. From now on the store must stay as it is.
func (b *brokenDisk) openAfterFailure() *kvstore.Store {
	b.Helper()
	s, err := kvstore.OpenWithConfig(b.config)
	b.ok(err)
	b.Cleanup(func() { _ = s.Close() })
	value, ok := s.Get("lost")
	b.Logf("the write that failed is there: %t", ok)
	if ok {
		b.want["lost"] = strings.Repeat("lost ", lostBytes/5+1)[:lostBytes]
		if string(value) != b.want["lost"] {
			b.Fatalf("it is there in part: %.40q, %d bytes", value, len(value))
		}
	}
	b.verify(s)
	return s
}

// P5: after an fsync has really failed, there is no further one. Open fails as
// long as the disk does, and finds everything when the disk works again.
func TestLimitFailedSync(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	b := newBrokenDisk(t)
	b.failSync()
	for range 2 {
		s, err := kvstore.OpenWithConfig(b.config)
		if err == nil {
			b.close(s)
			t.Fatal("Open has not noticed that the disk takes nothing")
		}
		t.Logf("Open on the broken disk: %v", err)
		if errors.Is(err, kvstore.ErrCorrupt) || !isAny(err, failsSync) {
			t.Fatalf("Open on a disk that fails its fsync: %v", err)
		}
	}
	b.repair()
	s := b.openAfterFailure()
	b.set(s, "after", 100)
	b.close(s)
	b.close(b.open())
}

// P5: the same holds for a large group, whose writeback the system starts
// before the writer waits for it.
func TestLimitFailedSyncOfALargeGroup(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	b := newBrokenDisk(t)
	var large kvstore.Batch
	for i := range 1000 {
		large.Set(fmt.Sprint("lost ", i), make([]byte, lostBytes/1000))
	}
	err := b.store.Apply(t.Context(), &large)
	b.Logf("the fsync that failed: %v", err)
	b.failed(err, failsSync...)
	b.failed(b.store.Sync(), failsSync...)
	b.verify(b.store)
	b.failed(b.store.Close(), failsSync...)
	b.repair()
	s, err := kvstore.OpenWithConfig(b.config)
	b.ok(err)
	if n := s.Len(); n != len(b.want) && n != len(b.want)+1000 {
		t.Errorf("a part of the group is there: %d keys instead of %d", n, len(b.want))
	}
	b.close(s)
}

// P1, P5: after a failed fsync the disk has everything that was acknowledged.
func TestLimitFailedSyncThenPowerCut(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	b := newBrokenDisk(t)
	b.failSync()
	b.repair()
	b.disk.cutPower(t)
	b.disk.unmount(t)
	b.disk.again(t, "")
	s := b.openAfterFailure()
	b.set(s, "after", 100)
	b.close(s)
	b.close(b.open())
}

// P3: after a failed fsync the kernel's cache shows the lost bytes as if they
// were on disk. An Open that believed the cache would serve what the next power
// cut takes away.
func TestLimitFailedSyncThenOpenThenPowerCut(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	b := newBrokenDisk(t)
	b.failSync()
	b.repair()
	s := b.openAfterFailure()
	b.set(s, "after", 100)
	b.disk.cutPower(t)
	b.failed(b.trySet(s, "without power", 10), syscall.EIO)
	_ = s.Close()
	b.disk.unmount(t)
	b.disk.again(t, "")
	s = b.open()
	b.set(s, "at last", 100)
	b.close(s)
	b.close(b.open())
}
