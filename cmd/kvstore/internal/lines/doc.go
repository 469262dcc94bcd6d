// Package lines reads and writes pairs of a key and a value as lines of text.
//
// [NDJSON] and [TSV] hold any bytes and can be read back: dump writes them, and
// load reads them with [Reader]. Deadlines of keys are in NDJSON alone. [Raw]
// and [Table] are for output only. A [Printer] writes pairs in any of these
// formats, one at a time, and keeps none.
package lines
