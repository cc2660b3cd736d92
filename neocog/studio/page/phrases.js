// What the server says, as it says it, and the same in Chinese. `{}` stands for what differs; `{0}` is the first of them.
// A test looks for each in the source of neocog, and for each of the studio's own messages here.

export const PHRASES = {
  // the page itself
  "the server does not answer": "服务器没有响应",
  "HTTP {}": "HTTP {0}",

  // who may talk to the studio
  "the studio answers to the names of this machine alone": "工作室只回应本机的名称",
  "the studio answers to its own pages alone": "工作室只回应自己的页面",
  "a length is a whole number": "长度必须是整数",
  "at most {} bytes are taken here": "这里最多接收 {0} 字节",
  "this request comes too slowly": "请求传来得太慢",
  "this link was used or is not the one that was printed; the terminal shows a new one": "此链接已用过，或不是终端给出的那个；终端里有新的链接",
  "open the link that the terminal shows": "请打开终端里显示的链接",
  "a browser says from which page a change comes": "浏览器须说明改动来自哪个页面",
  "this key is not known; open the link that the terminal shows": "密钥无效，请打开终端里显示的链接",
  "too many wrong keys came; wait a moment": "错误的密钥太多，请稍候",
  "the page has no such part": "页面没有这个部分",

  // runs
  "there is no such run": "没有这个运行",
  "there is no such run or model": "没有这个运行或模型",
  "there is no run in this folder": "此文件夹里没有运行",
  "this run is only looked at": "此运行只能查看，不能更改",
  "this run has ended": "此运行已结束",
  "this run has no weights yet": "此运行还没有权重",
  "this run has no weights to show yet": "此运行还没有可显示的权重",
  "this run could not begin": "此运行无法开始",
  "this run is busy with a long step; try again later": "此运行正忙于很长的一步，请稍后再试",
  "the data of this run is not there": "此运行的数据不在本机",
  "an image of your own": "用你自己的图像",
  "an edit changes a setting": "改动须更改一项设置",
  "a run has at most {} events": "一个运行最多有 {0} 次改动",
  "a new run with the settings of this one": "用同样的设置新建运行",
  "the studio itself made a mistake; the terminal shows which": "工作室自身出了错，详情见终端",
  "the loss is not finite after step {}; try a learning rate of {}": "第 {0} 步之后损失不再是有限数；学习率可改为 {1}",
  "the studio trains on data sets that are there": "工作室只用本机已有的数据集训练",
  "these images are not there": "这些图像不在本机",
  "a setting is no number": "有一项设置不是数",
  "training this network takes more memory than there is": "训练此网络所需的内存超过现有内存",
  "{} by the plan, {} available": "按规划需 {0}，可用 {1}",
  "a smaller batch, or fewer weights": "更小的批，或更少的权重",
  "{} is one of {}": "{0} 应为其中之一：{1}",
  "{} is a whole number from 1": "{0}应为不小于 1 的整数",
  "{} is 0 or more": "{0}应不小于 0",
  "{} is a number above 0": "{0}应大于 0",
  "{} is from 0 up to, not including, 1": "{0}应从 0 到 1（不含 1）",

  // why the engine is what it is
  "native: machine code for this network": "原生引擎：专为此网络生成的机器码",
  "native, as asked": "原生引擎，按要求选择",
  "torch on {}, as asked": "torch（{0}），按要求选择",
  "torch on {}: native has {}": "torch（{0}）：原生引擎不支持（{1}）",
  "torch on {}: a GPU is there": "torch（{0}）：本机有 GPU",
  "{}: {} a step expected in {}, {} by {} in {}": "{0}：预计每步 {1}（{2}），而 {4} 需 {3}（{5}）",
  "{}: {} a step expected in {}": "{0}：预计每步 {1}（{2}）",

  // data and loss against network
  "images need an input of two axes and channels": "图像需要有高、宽与通道的输入",
  "the channels are not as many: the network takes {}, the images have {}": "通道数不一致：网络的输入有 {0} 个通道，图像有 {1} 个",
  "grey images of {}": "{0} 的灰度图像",
  "colour images of {}": "{0} 的彩色图像",
  "the network ends in a volume, not in one score for each class": "网络末端是特征图，而不是每类一个分数",
  "{} for {} classes": "{0}，而类别有 {1} 个",
  "outputs and classes are not as many: the network has {}, the data {}": "输出与类别不一样多：网络有 {0} 个输出，数据有 {1} 个类别",
  "{} in place of {}": "{0}，替换 {1}",
  "-> FC{} at the end": "末尾加 -> FC{0}",
  "-> FC{}, or -> CONV1-{} -> GAP, at the end": "末尾加 -> FC{0}，或 -> CONV1-{1} -> GAP",
  "{} needs two values of each channel in every mini-batch": "{0} 在每个小批里每通道至少需要两个值",
  "batch_size=2 or more, and at least two training images": "批大小至少为 2，且至少有两张训练图像",

  // files that are brought
  "this file cannot be read": "无法读取此文件",
  "this file is empty": "此文件是空的",
  "this is no snapshot": "这不是快照",
  "this is no snapshot of the studio": "这不是工作室的快照",
  "this safetensors file was not written by neocog as a model": "此 safetensors 文件不是 neocog 写出的模型",
  "this image is not kept any more": "此图像已不再保留",
  "the file again": "请重新选择文件",
  "this is not an image in a known format": "这不是已知格式的图像",
  "this image is damaged and cannot be decoded": "此图像已损坏，无法解码",
  "this image has no pixels": "此图像没有像素",
  "an image file has at most {} bytes": "图像文件最多 {0} 字节",
  "an image has at most {} megapixels": "图像最多 {0} 百万像素",
  "nothing stands out from the ground": "底色上看不出任何笔画",
  "one digit on an even ground": "均匀底色上的一个数字",
  "the whole image is within {} grey values of its ground": "整幅图像与底色相差不到 {0} 个灰度",
  "its ground is as uneven as anything on it": "底色与其上的内容一样不均匀",
  "text": "文本",

  // what was done to an image
  "inverted": "已反色",
  "cropped to its strokes and centred in {}": "裁到笔画并居中于 {0}",
  "colour made grey": "彩色转为灰度",
  "grey made colour": "灰度转为彩色",
  "middle resized to {}": "取中部，缩放到 {0}",
  "middle {}% resized to {}": "取中部 {0}%，缩放到 {1}",
  "turned upright as EXIF says": "按 EXIF 转正",
  "first frame taken": "取第一帧",
  "transparency laid on an even ground": "透明处衬以均匀底色",

  // scenes and questions
  "this scene is not kept any more": "此场景已不再保留",
  "the image again": "请重新选择图像",
  "networks of up to {} multiplications are followed with all numbers": "可逐个数字跟踪的网络最多 {0} 次乘法",
  "following this network with all numbers takes more memory than there is": "逐个数字跟踪此网络所需的内存超过现有内存",
  "a smaller input": "更小的输入",
  "there is no such layer": "没有这个层",
  "{} has {} channels of {} axes": "{0} 有 {1} 个通道，{2} 个轴",
  "the place is within {}": "位置应在 {0} 之内",
  "classes are numbers from 0 to {}": "类别是从 0 到 {0} 的整数",
  "the studio slides over images of up to {} pixels": "工作室最多在 {0} 像素的图像上滑动",
  "this method needs an optional package": "此方法需要可选的软件包",

  "max": "最大值",
  "mean": "平均值",
  "root of the sum of squares": "平方和的平方根",

  // windows
  "the windows of {} do not tile its input: {}": "{0} 的窗口铺不满输入：{1}",
  "the window of {} is larger than its input: {}": "{0} 的窗口比输入大：{1}",

  // advice
  "the layers halve maps until they step {} pixels, which do not divide {}": "各层逐次减半，直到步距为 {0} 像素，而它不能整除 {1}",
  "{} has filters larger than 5x5, which only a first layer should have": "{0} 的卷积核大于 5x5，只有第一层才宜如此",
  "{} becomes {} in {}; S=1 and P=(F-1)/2 keep it": "{0} 经 {2} 变为 {1}；S=1 且 P=(F-1)/2 可保持尺寸",
  "{} pools over more than 3x3 values; POOL2 loses less": "{0} 的汇聚窗口大于 3x3；POOL2 损失更少",
  "{} convolutions with F=3 see as much as {}, with fewer weights": "{0} 个 F=3 的卷积与 {1} 看到一样大的范围，权重更少",
  "{} shrinks its input {} times at once; twice is gentler": "{0} 一次把输入缩小 {1} 倍；缩小一半更稳妥",
  "a position of the last maps sees {} of the image's {} pixels along a side, and nothing larger as a whole; more layers, pooling or dilation widen the view":
    "最后的特征图上，一个位置在一条边上只看到图像 {1} 个像素中的 {0} 个，看不到更大的整体；增加层、汇聚或扩张可扩大视野",
  "a position of the last maps sees {} times a side of the image on its shortest way, most of it padding; fewer layers or a larger image may do as well":
    "最后的特征图上，一个位置沿最短路径看到图像边长的 {0} 倍，多半是填充；更少的层或更大的图像也许一样好",

  "class {}": "类别 {0}",
};
