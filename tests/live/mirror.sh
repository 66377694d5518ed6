# A mirror of packages as a project keeps one: what it holds is built, indexed and signed here. Served by nginx from /srv/www.
export GNUPGHOME=/root/keys
arch=$(dpkg --print-architecture)

# made NAME VERSION FOLDER: a package that holds one file.
made() {
    mkdir -p "/root/made/$1/DEBIAN" "/root/made/$1/usr/share/$1" "$3"
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@example.com>\nDescription: says hello\n' "$1" "$2" \
        > "/root/made/$1/DEBIAN/control"
    echo "$2" > "/root/made/$1/usr/share/$1/version"
    dpkg-deb -b "/root/made/$1" "$3/$1_$2_all.deb" > /dev/null
}

# signed FOLDER KEY: what stands in the folder's Release is signed.
signed() {
    rm -f "$1/InRelease"
    gpg -q --batch --yes -u "$2" --clearsign -o "$1/InRelease" "$1/Release"
}

# flat FOLDER: a repository without suites.
flat() {
    (cd "$1" && apt-ftparchive packages . > Packages && rm -f Release && apt-ftparchive release . > /root/Release && mv /root/Release .)
    signed "$1" lab@example.com
}

# suite FOLDER SUITE LABEL POOL: a suite of a repository that holds what is in the pool.
suite() {
    mkdir -p "$1/dists/$2/main/binary-$arch"
    (cd "$1" && apt-ftparchive packages "$4" > "dists/$2/main/binary-$arch/Packages" && cd "dists/$2" && rm -f Release &&
        apt-ftparchive -o "APT::FTPArchive::Release::Suite=$2" -o "APT::FTPArchive::Release::Codename=$2" \
            -o "APT::FTPArchive::Release::Label=$3" -o "APT::FTPArchive::Release::Origin=$3" \
            -o APT::FTPArchive::Release::Components=main \
            -o "APT::FTPArchive::Release::Architectures=$arch" release . > /root/Release && mv /root/Release .)
    signed "$1/dists/$2" lab@example.com
}
