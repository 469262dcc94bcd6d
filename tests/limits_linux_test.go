package tests

// This file meets the limits of a real operating system: a full disk, no inodes, a limit on files' sizes and on open files, a directory
// that must not be written to or moves away, a disk that fails an fsync. Each has one clear error; nothing that was
// acknowledged is lost; and the store goes on, or a later Open does, as P5 says.

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"kvstore"
)

// mostOfSegment fits into a session's first segment once, and not twice.
const mostOfSegment = 200 << 10

// realStore is a directory of the operating system, and what must be in the store there.
type realStore struct {
	*testing.T
	config kvstore.Config
	want   map[string]string
}

func newRealStore(t *testing.T, dir string) *realStore {
	return &realStore{T: t, config: kvstore.DefaultConfig(dir), want: map[string]string{}}
}

func (r *realStore) open() *kvstore.Store {
	r.Helper()
	s, err := kvstore.OpenWithConfig(r.config)
	r.ok(err)
	r.Cleanup(func() { _ = s.Close() })
	r.verify(s)
	return s
}

func (r *realStore) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *realStore) close(s *kvstore.Store) {
	r.Helper()
	r.ok(s.Close())
}

// opensNot wants Open to fail in this way, the directory to keep what it has, and a read-only Open to find everything.
func (r *realStore) opensNot(want error) {
	r.Helper()
	before := r.files()
	s, err := kvstore.OpenWithConfig(r.config)
	if err == nil {
		r.close(s)
	}
	r.fails(err, want)
	if !strings.Contains(err.Error(), "kvstore: ") {
		r.Errorf("the error does not say whose it is: %v", err)
	}
	if after := r.files(); !slices.Equal(before, after) {
		r.Errorf("a failed Open has left %q of %q", after, before)
	}
	r.readable()
}

// readable wants a read-only Open to find everything.
func (r *realStore) readable() {
	r.Helper()
	config := r.config
	config.ReadOnly = true
	s, err := kvstore.OpenWithConfig(config)
	r.ok(err)
	r.verify(s)
	if err := s.Set("a", nil); !errors.Is(err, kvstore.ErrReadOnly) {
		r.Errorf("Set of a read-only store: %v", err)
	}
	r.close(s)
}

// fails wants an error that is want, and not that of a store that has failed for good, nor of damage.
func (r *realStore) fails(err, want error) {
	r.Helper()
	if !errors.Is(err, want) || errors.Is(err, kvstore.ErrFailed) || errors.Is(err, kvstore.ErrCorrupt) {
		r.Fatalf("error %v, want one that is %q and not ErrFailed", err, want)
	}
}

// failed wants the error of a store that has failed for good, by one of these causes.
func (r *realStore) failed(err error, causes ...error) {
	r.Helper()
	if !errors.Is(err, kvstore.ErrFailed) || !slices.ContainsFunc(causes, func(cause error) bool { return errors.Is(err, cause) }) {
		r.Fatalf("error %v, want ErrFailed by one of %q", err, causes)
	}
}

// set sets a key to a value of this size.
func (r *realStore) set(s *kvstore.Store, key string, size int) {
	r.Helper()
	r.ok(r.trySet(s, key, size))
}

// trySet is set, and takes note of it if it succeeds; if not, the key must stay as it was.
func (r *realStore) trySet(s *kvstore.Store, key string, size int) error {
	r.Helper()
	value := strings.Repeat(key+" ", size/(len(key)+1)+1)[:size]
	err := s.Set(key, []byte(value))
	if err == nil {
		r.want[key] = value
	}
	return err
}

func (r *realStore) verify(s *kvstore.Store) {
	r.Helper()
	r.same(state(s))
}

// state returns what a store shows to Keys and Get.
func state(s *kvstore.Store) map[string]string {
	state := map[string]string{}
	for _, key := range s.Keys() {
		if value, ok := s.Get(key); ok {
			state[key] = string(value)
		}
	}
	return state
}

func (r *realStore) same(got map[string]string) {
	r.Helper()
	if maps.Equal(got, r.want) {
		return
	}
	for key := range got {
		if _, ok := r.want[key]; !ok {
			r.Errorf("key %q is there, and was never acknowledged", key)
		}
	}
	for key := range r.want {
		if got[key] != r.want[key] {
			r.Errorf("key %q is %.40q and should be %.40q", key, got[key], r.want[key])
		}
	}
	r.FailNow()
}

// files returns the names in the directory, sorted.
func (r *realStore) files() []string {
	r.Helper()
	entries, err := os.ReadDir(r.config.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// hasLog wants the log to be there: what a Close that failed must leave.
func (r *realStore) hasLog() {
	r.Helper()
	if names := r.files(); !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".log") }) {
		r.Fatalf("no log in %q", names)
	}
	for _, name := range r.files() {
		if strings.HasSuffix(name, ".tmp") {
			r.Errorf("%s was left behind", name)
		}
	}
}

// fillUp leaves no room on the file system of this directory; the function it returns makes room again.
func fillUp(t *testing.T, dir string) (makeRoom func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); len(block) > 0; block = block[:len(block)/2] {
		for err = nil; err == nil; {
			_, err = file.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// ---- space ----

// P5, P10: a full disk fails the writes that need room and nothing else; Close that finds none leaves the log.
func TestLimitFullDisk(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	for name, newFS := range map[string]func(*testing.T) *mount{
		"tmpfs": func(t *testing.T) *mount { return newTmpfs(t, "size=10m") },
		"ext4": func(t *testing.T) *mount {
			return newDisk(t, filepath.Join(t.TempDir(), "disk"), 16<<20, "") // 5 MiB are its own
		},
	} {
		for _, syncWrites := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, SyncWrites %t", name, syncWrites), func(t *testing.T) {
				fillsDisk(t, newFS(t), syncWrites)
			})
		}
	}
}

func fillsDisk(t *testing.T, m *mount, syncWrites bool) {
	const large, ballast = 60 << 10, 8 << 20
	r := newRealStore(t, filepath.Join(m.dir, "store"))
	r.config.SyncWrites = syncWrites
	small, big := filepath.Join(m.dir, "small"), filepath.Join(m.dir, "big")
	r.ok(os.WriteFile(small, make([]byte, 256<<10), 0o600))
	r.ok(os.WriteFile(big, make([]byte, ballast), 0o600))
	s := r.open()
	r.set(s, "first", 100)
	var err error
	written := 0
	for ; err == nil && written < 1000; written++ {
		err = r.trySet(s, fmt.Sprint("large ", written), large)
	}
	r.fails(err, syscall.ENOSPC)
	if written < 10 {
		t.Fatalf("the disk was full after %d writes", written)
	}
	r.verify(s)
	for range 3 { // nothing of a write that failed is in the way of the next
		r.fails(r.trySet(s, "none", large), syscall.ENOSPC)
		r.set(s, "first", 50) // it fits
	}
	r.ok(s.Sync())
	r.verify(s)
	r.ok(os.Remove(small))
	r.set(s, "after", large)
	r.verify(s)

	makeRoom := fillUp(t, m.dir)
	for err = nil; err == nil && written < 2000; written++ {
		err = r.trySet(s, fmt.Sprint("large ", written), large)
	}
	r.fails(err, syscall.ENOSPC)
	r.fails(s.Close(), syscall.ENOSPC)
	r.hasLog()
	r.opensNot(syscall.ENOSPC)
	makeRoom()
	r.ok(os.Remove(big))
	s = r.open()
	r.set(s, "room again", large)
	r.close(s)
	s = r.open()
	if stats := s.Stats(); stats.Recovery.Groups != 0 {
		t.Errorf("Close with room again has left a log: %+v", stats)
	}
	r.close(s)
}

// P5: no inode for the next segment is a full disk too.
func TestLimitNoInodes(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	m := newTmpfs(t, "size=16m,nr_inodes=4") // the root, the directory, LOCK, one segment
	r := newRealStore(t, filepath.Join(m.dir, "store"))
	s := r.open()
	r.set(s, "first", mostOfSegment)
	for range 3 {
		r.fails(r.trySet(s, "second", mostOfSegment), syscall.ENOSPC)
		r.set(s, "small", 100)
	}
	r.verify(s)
	m.change(t, 0, "nr_inodes=5")
	r.set(s, "second", mostOfSegment)
	r.fails(s.Close(), syscall.ENOSPC)
	r.hasLog()
	r.opensNot(syscall.ENOSPC)
	m.change(t, 0, "nr_inodes=100")
	r.close(r.open())
	r.close(r.open())
}

// ---- file sizes ----

// limitFileSize limits how long files can get; 0 is no limit.
func limitFileSize(t *testing.T, size uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = size
	if size == 0 {
		limit.Cur = limit.Max
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
}

// P5, P10: a segment or snapshot longer than files may be is like a full disk.
func TestLimitFileSize(t *testing.T) {
	if !alone(t) {
		return
	}
	const limit, large = 1536 << 10, 600 << 10
	r := newRealStore(t, t.TempDir())
	s := r.open()
	defer limitFileSize(t, 0)
	limitFileSize(t, limit)
	for i := range 5 {
		r.set(s, fmt.Sprint("large ", i), large)
		r.fails(r.trySet(s, "too large", limit), syscall.EFBIG)
		r.set(s, "small", 100)
	}
	r.verify(s)
	r.fails(s.Close(), syscall.EFBIG)
	r.hasLog()
	s = r.open()
	r.set(s, "small", 200)
	limitFileSize(t, 0)
	r.set(s, "too large", limit)
	r.verify(s)
	limitFileSize(t, 2*limit) // the snapshot alone is longer
	r.fails(s.Close(), syscall.EFBIG)
	r.hasLog()
	limitFileSize(t, 100)
	r.opensFails(syscall.EFBIG)
	limitFileSize(t, 0)
	r.close(r.open())
	r.close(r.open())
}

// opensFails is opensNot where a failed Open may have begun to repair the log.
func (r *realStore) opensFails(want error) {
	r.Helper()
	s, err := kvstore.OpenWithConfig(r.config)
	if err == nil {
		r.close(s)
	}
	r.fails(err, want)
	r.readable()
}

// P5: a write that the kernel does in part is a failure for good, even into space that was reserved.
func TestLimitPartialWrite(t *testing.T) {
	if !alone(t) {
		return
	}
	r := newRealStore(t, t.TempDir())
	s := r.open()
	r.set(s, "before", mostOfSegment/8)
	defer limitFileSize(t, 0)
	limitFileSize(t, mostOfSegment/2)
	r.failed(r.trySet(s, "in part", mostOfSegment/2), syscall.EFBIG)
	limitFileSize(t, 0)
	for range 3 {
		r.failed(r.trySet(s, "later", 100), syscall.EFBIG)
		r.failed(s.Delete("before"), syscall.EFBIG)
		r.failed(s.Sync(), syscall.EFBIG)
		r.verify(s)
	}
	before := r.files()
	r.failed(s.Close(), syscall.EFBIG)
	if after := r.files(); !slices.Equal(before, after) {
		t.Errorf("Close of a failed store has left %q of %q", after, before)
	}
	r.readable()
	s = r.open() // without the group that is there in part
	dropped := s.Stats().Recovery.Dropped
	if len(dropped) != 1 || dropped[0].Bytes < mostOfSegment/4 || dropped[0].Offset+dropped[0].Bytes != mostOfSegment/2 {
		t.Errorf("dropped %+v, want the part that was written", dropped)
	}
	r.set(s, "in part", mostOfSegment/2)
	r.close(s)
	r.close(r.open())
}

// ---- open files ----

// openDescriptors returns the numbers of the descriptors that are open, rising.
func openDescriptors(t *testing.T) (numbers []int) {
	t.Helper()
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	names, err := dir.Readdirnames(-1)
	own := int(dir.Fd())
	if err = errors.Join(err, dir.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var n int
		if _, err := fmt.Sscan(name, &n); err != nil {
			t.Fatal(err)
		}
		if n != own {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// limitOpenFiles lets no more than so many files be opened beyond those that are; the function it returns lifts the limit.
func limitOpenFiles(t *testing.T, more int) (lift func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	used, limit := openDescriptors(t), 0
	for free := 0; ; limit++ { // the first limit with so many free numbers below it
		if free == more {
			break
		}
		if !slices.Contains(used, limit) {
			free++
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(limit), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	lifted := false
	lift = func() {
		if lifted {
			return
		}
		lifted = true
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

// startPolling has the runtime open what it opens once, so that it is not counted.
func startPolling(t *testing.T) {
	t.Helper()
	r, w, err := os.Pipe()
	if err == nil {
		err = errors.Join(r.Close(), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// P5, P10: with no descriptor left the next segment and the snapshot wait, and nothing fails for good.
func TestLimitOpenFilesOfAnOpenStore(t *testing.T) {
	if !alone(t) {
		return
	}
	startPolling(t)
	r := newRealStore(t, t.TempDir())
	s := r.open()
	for i := range 3 {
		lift := limitOpenFiles(t, 0)
		if i == 0 { // now, so that the next segment is not to be had ahead of time either
			r.set(s, "first", mostOfSegment)
		}
		r.fails(r.trySet(s, "second", mostOfSegment), syscall.EMFILE)
		r.set(s, "small", 100)
		r.ok(s.Sync())
		r.verify(s)
		lift()
	}
	r.set(s, "second", mostOfSegment)
	r.verify(s)
	failures := 0
	for more := range 20 {
		r.set(s, "once more", 100+more)
		before := openDescriptors(t)
		lift := limitOpenFiles(t, more)
		err := s.Close()
		lift()
		if err == nil {
			t.Logf("Close needs %d descriptors", more)
			break
		}
		failures++
		r.fails(err, syscall.EMFILE)
		if after := openDescriptors(t); len(after) >= len(before) {
			t.Errorf("Close has left %v open of %v", after, before)
		}
		r.readable()
		s = r.open()
	}
	if failures == 0 {
		t.Error("Close needs no descriptor: the limit has no effect")
	}
	r.close(s)
	r.close(r.open())
}

// copyTo copies the directory of a store that is open, as a crash would leave it. No file gets another name meanwhile: the writer
// makes and names segments after it has answered.
func (r *realStore) copyTo(dir string) {
	r.Helper()
	for {
		r.ok(os.RemoveAll(dir))
		before := r.files()
		err := os.CopyFS(dir, os.DirFS(r.config.DataDir))
		if err == nil && slices.Equal(before, r.files()) {
			return
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Fatal(err)
		}
	}
}

// Open with too few descriptors fails as such, leaks none, and is harmless, whatever it was doing.
func TestLimitOpenFilesInOpen(t *testing.T) {
	if !alone(t) {
		return
	}
	startPolling(t)
	crashed, s := t.TempDir(), (*kvstore.Store)(nil)
	r := newRealStore(t, t.TempDir())
	s = r.open()
	for i := range 30 {
		r.set(s, fmt.Sprint("key ", i), 100<<10) // segments enough
	}
	r.copyTo(crashed)
	r.close(s)
	for name, test := range map[string]*realStore{
		"fresh":   newRealStore(t, filepath.Join(t.TempDir(), "a", "b")),
		"closed":  r,
		"crashed": {T: t, config: kvstore.DefaultConfig(crashed), want: r.want},
	} {
		failures := 0
		for more := range 30 {
			before := openDescriptors(t)
			lift := limitOpenFiles(t, more)
			s, err := kvstore.OpenWithConfig(test.config)
			lift()
			if err == nil {
				test.verify(s)
				test.close(s)
				t.Logf("%s: Open needs %d descriptors", name, more)
				break
			}
			failures++
			test.fails(err, syscall.EMFILE)
			if after := openDescriptors(t); !slices.Equal(before, after) {
				t.Fatalf("%s: Open that failed by %v has left %v open of %v", name, err, after, before)
			}
			if len(test.want) > 0 {
				test.readable()
			}
		}
		if failures == 0 {
			t.Errorf("%s: Open needs no descriptor: the limit has no effect", name)
		}
		test.close(test.open())
	}
}

// ---- directories ----

// A file system that is mounted read-only can be read, and Open says clearly that it cannot be written.
func TestLimitReadOnlyMount(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	r := newRealStore(t, t.TempDir())
	s := r.open()
	for i := range 3 {
		r.set(s, fmt.Sprint("key ", i), 100)
	}
	crashed := t.TempDir() // with a log, which a reader must not repair
	r.copyTo(crashed)
	r.close(s)
	for _, dir := range []string{r.config.DataDir, crashed} {
		m := newMount(t, dir, "", syscall.MS_BIND, "")
		m.change(t, syscall.MS_BIND|syscall.MS_RDONLY, "")
		frozen := &realStore{T: t, config: kvstore.DefaultConfig(m.dir), want: r.want}
		frozen.opensNot(syscall.EROFS)
		missing := &realStore{T: t, config: kvstore.DefaultConfig(filepath.Join(m.dir, "not", "there"))}
		_, err := kvstore.OpenWithConfig(missing.config)
		missing.fails(err, syscall.EROFS)
		m.change(t, syscall.MS_BIND, "")
		frozen.close(frozen.open())
		m.unmount(t)
	}
}

// immutable forbids any change, for root too; the function it returns allows it again.
func immutable(t *testing.T, path string) (allow func()) {
	t.Helper()
	needRoot(t, "chattr")
	allowed := false
	allow = func() {
		if allowed {
			return
		}
		allowed = true
		if _, err := runTool(t, "chattr", "-i", path); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(allow) // before the file system goes away
	if _, err := runTool(t, "chattr", "+i", path); err != nil {
		allowed = true
		missingLayer(t, "%v", err)
	}
	return allow
}

// Without the right to write, Open fails as such and changes nothing; an open store fails for good, and loses nothing.
func TestLimitForbidden(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	m := newDisk(t, filepath.Join(t.TempDir(), "disk"), 64<<20, "") // it goes with us, whatever may be left immutable on it
	r := newRealStore(t, filepath.Join(m.dir, "store"))
	r.ok(os.Mkdir(r.config.DataDir, 0o700))
	empty := immutable(t, r.config.DataDir)
	r.opensNot(fs.ErrPermission)
	empty()
	r.close(r.open())
	s := r.open()
	r.set(s, "first", 100)
	r.close(s)

	for _, path := range []string{r.config.DataDir, filepath.Join(r.config.DataDir, "LOCK")} {
		allow := immutable(t, path)
		r.opensNot(fs.ErrPermission)
		allow()
		s := r.open()
		r.set(s, "next", 100)
		r.close(s)
	}

	s = r.open()
	r.set(s, "large", mostOfSegment)
	allow := immutable(t, r.config.DataDir)
	r.failed(r.trySet(s, "no segment", mostOfSegment), fs.ErrPermission)
	r.failed(r.trySet(s, "small", 100), fs.ErrPermission)
	r.verify(s)
	r.failed(s.Close(), fs.ErrPermission)
	r.opensFails(fs.ErrPermission)
	allow()
	r.close(r.open())

	s = r.open()
	r.set(s, "once more", 100)
	allow = immutable(t, r.config.DataDir)
	r.fails(s.Close(), fs.ErrPermission)
	r.hasLog()
	allow()
	r.close(r.open())
	r.close(r.open())
}

// A directory that gets another name while the store is open stays the store's.
func TestLimitRenamedDirectory(t *testing.T) {
	base := t.TempDir()
	old, renamed := filepath.Join(base, "old"), filepath.Join(base, "new")
	for _, syncWrites := range []bool{true, false} {
		r := newRealStore(t, old)
		r.config.SyncWrites = syncWrites
		s := r.open()
		r.set(s, "first", 900<<10)
		r.ok(os.Rename(old, renamed))
		r.ok(os.Mkdir(old, 0o700)) // in its place, somebody else's
		for i := range 10 {
			r.set(s, fmt.Sprint("key ", i), 900<<10)
		}
		r.verify(s)
		r.config.DataDir = renamed
		_, err := kvstore.OpenWithConfig(r.config)
		r.fails(err, kvstore.ErrLocked)
		if segments := r.files(); len(segments) < 4 {
			t.Errorf("no rotation: %q", segments)
		}
		r.close(s)
		s = r.open()
		if stats := s.Stats(); stats.Recovery.Groups != 0 {
			t.Errorf("Close has left a log: %+v", stats)
		}
		r.close(s)
		r.config.DataDir = old
		if names := r.files(); len(names) > 0 {
			t.Errorf("%q went to the old path", names)
		}
		r.ok(errors.Join(os.RemoveAll(old), os.RemoveAll(renamed)))
	}
}

// ---- a disk that fails ----

// extent is where a part of a file lies on its device.
type extent struct {
	Logical, Physical, Length uint64
	_                         [2]uint64
	Flags                     uint32
	_                         [3]uint32
}

// extentsOf asks the file system, by FS_IOC_FIEMAP.
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

// onePageAtATime has a loop device write single pages. Of a request that its file takes in part the kernel may say that all is well (6.18
// does): a disk that lies, which no store can help.
func onePageAtATime(t *testing.T, m *mount) {
	t.Helper()
	path := filepath.Join("/sys/block", filepath.Base(m.source), "queue/max_sectors_kb")
	if err := os.WriteFile(path, []byte("4"), 0); err != nil {
		missingLayer(t, "%v", err)
	}
}

// takeAll makes a file that has all free blocks of a file system, or almost.
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

// brokenDisk is an ext4 file system on a disk that cannot take the last part of a store's segment, nor anything that needs new space,
// though the file system believes so.
type brokenDisk struct {
	*realStore
	disk   *mount
	store  *kvstore.Store
	repair func()
}

// failsSync is what such a disk answers an fsync with; it depends on the version of the kernel.
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
	fallocate(0, 0, brokenDiskBytes) // all of the disk is there,
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
	punch(segment, good)  // but for this part of the segment,
	end := punch(free, 0) // and what is free, what ext4 keeps for itself behind it too
	fallocate(punchHole|keepSize, end, brokenDiskBytes-end)
	r.ok(os.Remove(free))
	repair := fillUp(t, thin.dir)
	r.set(s, "fits", 20<<10)
	return &brokenDisk{realStore: r, disk: m, store: s, repair: repair}
}

// failSync has the store fail for good, in an fsync, and closes it.
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

// openAfterFailure opens the store where the group that failed may be there, from the kernel's cache, or not. From now on it must
// be as it is now.
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

// P5: an fsync that really fails is the last; an Open fails as long as the disk does, and has everything when it is well again.
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
		if errors.Is(err, kvstore.ErrCorrupt) || !slices.ContainsFunc(failsSync, func(e error) bool { return errors.Is(err, e) }) {
			t.Fatalf("Open on a disk that fails its fsync: %v", err)
		}
	}
	b.repair()
	s := b.openAfterFailure()
	b.set(s, "after", 100)
	b.close(s)
	b.close(b.open())
}

// P5: so it is with the sync of a large group, all of which the system begins before the writer waits for it.
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

// P1, P5: what the disk has after a failed fsync has everything that was acknowledged.
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

// P3: after a failed fsync the kernel's cache shows the lost bytes as if all were well, and an Open that was taken in would serve
// what the next power cut takes away.
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
