// Package kvstore is an embedded key-value store: the whole data set lives in memory, every acknowledged write is on disk.
//
// What a reader can see is already safe, and no reader ever waits for a disk: a write becomes visible only after
// the fsync that covers it, and no lock that a reader takes is held during one.
//
//	s, err := kvstore.Open("data")
//	if err != nil {
//		return err
//	}
//	err = s.Set("greeting", []byte("hello")) // nil: it is on disk
//	value, ok := s.Get("greeting")           // from memory, a copy
//	err = errors.Join(err, s.Close())        // writes a snapshot
//
// One goroutine writes. Set, Delete, Apply and ApplyAsync send it commands; it takes all that are waiting, appends them to a log as
// one group, makes the group durable with one fsync, applies it to the table in memory, and answers. So
// the number of fsyncs falls as the number of concurrent writers grows. Opening a store loads the newest snapshot and
// replays the log behind it; closing it writes a snapshot, and so does [Store.Snapshot] while reads and writes go on.
//
// A [View] is a frozen picture of the store. Opening one costs microseconds; it neither waits for writers nor makes them wait.
// [Store.Scan] iterates over keys in order, [Store.Update] runs a transaction; both look at a view of their own.
//
// # Concurrency
//
//   - All methods of [Store], [View] and [Commit] may be called from any number of goroutines. A [Batch] is for one at a time.
//   - The calls of one goroutine commit in their order. Of those of several, one that has returned commits before one that begins afterwards; this holds for
//     ApplyAsync too.
//   - Each commit is atomic for readers: once one read has shown a write of a batch, every later read shows all of it.
//   - Bytes are copied on the way in and out: slices passed in may be changed when the call has returned, slices returned belong
//     to the caller.
//   - One process at a time may have a data directory open for writing.
//   - A view shows one state until it is closed. What later commits replace is kept in memory for it.
//   - Transactions are serializable, with each other and with all other writes: see [Store.Update]. A [Tx] is for one goroutine.
//
// # Durability
//
//   - With SyncWrites ([Open], [DefaultConfig]) a write that returned nil survives a crash of the process, of the operating system,
//     and a power cut. Without it, it survives a crash of the process; the log is fsynced every SyncInterval, by [Store.Sync] and by Close.
//   - Recovery brings back a prefix of the commits in their order, with every write that is promised to survive; a batch is
//     there whole or not at all. A write that was never acknowledged may be there too, if its bytes reached the disk.
//   - After a write or an fsync of the log has failed, the store accepts no more writes: they return [ErrFailed], nothing of them
//     becomes visible, and reads go on. The fsync is not retried, since it would succeed without having written
//     anything. A full disk is no such failure as long as it shows when space for the log is reserved.
//   - An incomplete end of the log, which a crash leaves, is cut off and reported in [Recovery]. Damage to anything that was
//     provably durable makes Open return a [CorruptError] and change nothing. What cannot be told apart is damage to groups that
//     nothing behind them vouches for: with SyncWrites that is the last group written before a crash. Nor can it be
//     noticed that the newest file was taken away whole.
//   - Assumed is that fsync is honest; that a sector torn by a power cut holds old or new bytes and no others; that writing does not damage
//     bytes beside it; that fsync of a directory makes its names durable; and that nobody else writes into the directory.
//
// # Limits
//
//   - Keys are any bytes, up to [MaxKeyBytes]; the empty key is one. Values have up to [MaxValueBytes]; nil is the empty value.
//   - A batch has up to [MaxBatchBytes]; a store has up to [MaxKeys] keys, and must fit in memory: keys, values, and some 30 bytes for
//     each pair, with as much as a quarter more while values of changing sizes are overwritten.
//   - Keys have the order of their bytes, in scans, and none elsewhere.
//
// The bytes on disk are specified in docs/FORMAT.md, the reasons for all of this in docs/DESIGN.md.
package kvstore
