// Package folder writes and reads run folders: plan, environment, journal, logs, and Parquet tables of hits, arrivals,
// samples and connection attempts. A manifest lists every file with its digest; files not listed are not read. Judging
// a folder needs no container engine.
package folder
