// Package kvstore is an embedded key-value store. The whole data set lives in
// memory, and every acknowledged write is on disk.
//
// What a reader can see is already safe, and no reader ever waits for a disk. A
// write becomes visible only after the fsync that covers it, and no lock that a
// reader takes is held during that fsync.
//
//	config := kvstore.DefaultConfig("data") // SyncWrites is on
//	s, err := kvstore.OpenWithConfig(config)
//	if err != nil {
//		return err
//	}
//	err = s.Set("greeting", []byte("hello")) // nil: it is on disk
//	value, ok := s.Get("greeting")           // from memory, a copy
//	err = errors.Join(err, s.Close())        // writes a snapshot
//
// One goroutine does all the writing. Set, Delete, Apply and ApplyAsync send it
// commands. It takes all commands that wait, appends them to the write-ahead
// log as one group, makes the group durable with one fsync, applies it to the
// table in memory, and answers. This is group commit: the more writers wait,
// the fewer fsyncs a write costs. Open loads the newest snapshot and replays
// the log written since. Close writes a snapshot, and so does [Store.Snapshot]
// while reads and writes go on.
//
// A [View] is a frozen picture of the store. Opening one takes microseconds. It
// does not wait for writers, and writers do not wait for it. [Store.Scan]
// iterates over keys in order, and [Store.Update] runs a transaction. Both read
// from a view of their own.
//
// # Concurrency
//
//   - All methods of [Store], [View] and [Commit] may be called from any number
//     of goroutines. A [Batch] and a [Tx] are for one goroutine at a time.
//   - The calls of one goroutine commit in their order. A call that has
//     returned commits before a call that begins afterwards in any goroutine.
//     This holds for ApplyAsync, too.
//   - Each commit is atomic for readers: once one read has shown a write of a
//     batch, every later read shows all of the batch.
//   - Bytes are copied on the way in and out. The caller may change a slice
//     that it passed in once the call has returned. A slice that was returned
//     belongs to the caller.
//   - One process at a time may have a data directory open for writing.
//   - A view shows one state until it is closed. What later commits replace is
//     kept in memory for it.
//   - Transactions are serializable, with each other and with all other writes:
//     see [Store.Update], whose function runs in the caller's goroutine, and
//     [Store.Do], whose function the writer runs.
//
// # Deadlines
//
// A key may have a deadline, after which it is gone:
//
//	err = s.SetFor("session/7", []byte("alice"), time.Hour)
//	found, err := s.Expire("session/7", s.Now().Add(time.Hour)) // an hour more
//
// What holds for keys with a deadline:
//
//   - A key is absent from its deadline on, by the store's clock: for every
//     read, every condition and every transaction, to the nanosecond. It does
//     not come back in that session, unless somebody sets it again.
//   - A deadline is a moment, not a span of time. It is in the log and in
//     snapshots, so it outlives a restart, [View.WriteTo] and [Restore]. A key
//     that falls due while the store is closed is gone at the next Open.
//   - [Store.SetUntil], [Store.SetFor], [Batch.SetUntil] and [Tx.SetUntil] set
//     a key with a deadline. [Store.Expire] and [Tx.Expire] change the deadline
//     of a key. Set and CompareAndSwap remove it, and Add keeps it.
//     [Store.Deadline] returns it.
//   - The writer deletes keys that are due, in commits of its own. Nobody waits
//     for that, and it waits for nobody: it takes at most a quarter of the
//     writer's time while callers wait. Until then a key takes memory.
//   - The store's clock is the wall time of Open, advanced by the monotonic
//     clock: see [Store.Now]. It never goes back in a session, and does not
//     follow a step forward of more than a minute at once. If the wall clock is
//     set back while the store is closed, keys that were due and were not
//     deleted yet show again until their deadline. A key whose deletion is
//     durable never does.
//   - A [View], and a transaction of [Store.Update], see one moment of the
//     clock, that at which they begin. A transaction that has found a key which
//     is due when the transaction is to be committed runs again.
//
// A directory in which no key has ever had a deadline has the same bytes as
// before there were any, and earlier builds open it. Once a key has one,
// earlier builds return [ErrVersion], until no key has one any more and a
// snapshot covers the log.
//
// # Durability
//
//   - With SyncWrites ([Open], [DefaultConfig]), a write that returned nil
//     survives a crash of the process, a crash of the operating system, and a
//     power cut. Without SyncWrites it survives a crash of the process; the log
//     is fsynced every SyncInterval, by [Store.Sync], and by Close.
//   - The zero value of [Config] has SyncWrites off. Start from
//     [DefaultConfig].
//   - What goes wrong in the background, such as a snapshot that fails, is
//     reported to Config.Logger, or to slog.Default if there is none.
//   - Recovery brings back a prefix of the commits in their order, with every
//     write that is promised to survive. A batch is there whole or not at all.
//     A write that was never acknowledged may be there, too, if its bytes
//     reached the disk.
//   - After a write or an fsync of the log has failed, the store accepts no
//     more writes. They return [ErrFailed], and nothing of them becomes
//     visible. Reads go on. The fsync is not retried, since it would succeed
//     without having written anything. A disk that is full when space for the
//     log is reserved fails only the writes of that group, with ENOSPC.
//   - An incomplete end of the log, as a crash leaves it, is cut off and
//     reported in [Recovery]. Damage to anything that was provably durable
//     makes Open return a [CorruptError] and leave all files but LOCK as they
//     are. Damage to the last group before a crash looks like an unfinished
//     write and cannot be detected; without SyncWrites, this holds for all
//     groups since the last fsync that a later group in the log records. If
//     the newest files are deleted, and what is left could have been the whole
//     store, kvstore cannot tell.
//   - kvstore assumes that fsync is honest; that a sector torn by a power cut
//     holds old or new bytes and no others; that a write does not damage bytes
//     beside it; that fsync of a directory makes its names durable; and that
//     nothing else writes into the directory.
//
// # Limits
//
//   - Keys are any bytes, up to [MaxKeyBytes]; the empty key is legal. Values
//     have up to [MaxValueBytes]; nil is the empty value.
//   - A batch has up to [MaxBatchBytes], and a store up to [MaxKeys] keys.
//   - The store must fit in memory: keys and values; 25 to 40 bytes for each
//     pair, or up to an eighth of values beyond about 1 KB; about 20 more for a
//     key with a deadline; and up to a quarter more while values of changing
//     sizes are overwritten. The store takes memory ahead of its needs: up to
//     16 MiB, or a third of the data. On Linux this memory lies outside the Go
//     heap, where GOMEMLIMIT and [runtime.MemStats] do not see it.
//   - Scans show keys in the order of their bytes. Nothing else has an order.
//
// docs/OPERATIONS.md says how to run a program with a store, docs/FORMAT.md
// specifies the bytes on disk, and docs/DESIGN.md gives the reasons for all of
// this.
package kvstore
