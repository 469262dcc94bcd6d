module kvstore/model

go 1.26.0
