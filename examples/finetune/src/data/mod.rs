//! Real data sets, read from what `examples/data.sh` downloads or from the official files.
