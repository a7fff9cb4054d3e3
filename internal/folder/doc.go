// Package folder writes and reads run folders: plan, environment, journal, logs and the Parquet tables of hits, arrivals and samples,
// bound together by a manifest that lists every file with its digest. What a table of a folder does not hold was not recorded, and what
// the manifest does not list is not read. Judging a folder needs no engine.
package folder
